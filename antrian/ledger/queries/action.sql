-- Returns the result of a command of staff. in: action_id. out: before, after, refused; no row if it is not recorded.
select before, after, refused
from staff_action
where action_id = %(action_id)s
