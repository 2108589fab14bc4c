-- Returns the changes of booking states by the ways back of staff, to check a history.
-- out: booking_id (text), state before, state after.
select distinct before ->> 'booking_id', before ->> 'state', after ->> 'state'
from staff_action
where kind in ('UNDO_CHECK_IN', 'LATE_ATTENDANCE', 'EXCUSE_NO_SHOW')
    and refused is null
    and before ->> 'state' <> after ->> 'state'
