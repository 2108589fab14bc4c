-- Returns the people of a finished day. in: office, service_date.
-- out: booking_id, applicant_key, ends_at and last_day of the bar (null if there is none or it was lifted), by ends_at.
select a.booking_id, a.applicant_key, bar.ends_at, bar.last_day
from slot
join applicant as a using (slot_id)
left join bar on bar.applicant_key = a.applicant_key and bar.booking_id = a.booking_id and bar.lifted_at is null
where slot.office_id = %(office)s and slot.service_date = %(service_date)s
order by bar.ends_at
