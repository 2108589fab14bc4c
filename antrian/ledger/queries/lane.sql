-- Returns a lane. in: office. out: token, last_ticket, last_command, skipped, epoch.
select token, last_ticket, last_command, skipped, epoch
from lane
where office_id = %(office)s
