-- Returns how many bookings were cancelled because their day was closed. in: office, service_date.
-- Requests that were rejected for that reason have no applicants.
select count(distinct b.booking_id)
from slot as s
join applicant as a using (slot_id)
join booking as b using (booking_id)
where s.office_id = %(office)s and s.service_date = %(service_date)s and b.reason = 'DAY_CLOSED'
