-- Returns the bars in force. out: applicant_key, booking_id, ends_at, last_day.
select applicant_key, booking_id, ends_at, last_day
from bar
where ends_at > service_now() and lifted_at is null
