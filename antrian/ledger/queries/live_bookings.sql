-- Returns the number of live bookings of an office. in: office.
select count(distinct applicant.booking_id)
from slot
join applicant using (slot_id)
where slot.office_id = %(office)s and applicant.live
