-- How many bookings of a day its closing cancelled. in: office, service_date.
select count(*)
from booking as b
join slot as s using (slot_id)
where s.office_id = %(office)s and s.service_date = %(service_date)s and b.state = 'CANCELLED' and b.reason = 'DAY_CLOSED'
