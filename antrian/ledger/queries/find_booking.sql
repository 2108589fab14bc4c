-- Returns the booking with a code at an office, today's before others, and locks it.
-- in: office, low, high (range of the booking ids with that code).
-- out: booking_id, caller, account, state, service_date, first_number, party_size, today.
select
    b.booking_id, b.caller, b.account, b.state, s.service_date, b.first_number, b.party_size,
    (service_now() at time zone o.time_zone)::date as today
from booking as b
join slot as s using (slot_id)
join office as o on o.office_id = b.office_id
where b.booking_id between %(low)s and %(high)s and b.office_id = %(office)s
order by s.service_date = (service_now() at time zone o.time_zone)::date desc, s.service_date desc
limit 1
for update of b
