-- Returns the slots of an office since a day. in: office, since.
-- out: service_date, session, quota, taken, last_number, closed.
select service_date, session, quota, taken, last_number, closed
from slot
where office_id = %(office)s and service_date >= %(since)s
order by service_date, session desc
