-- Returns a person's bars, oldest first. in: applicant_key. out: booking_id, last_day, ends_at, lifted_at, in_force.
select booking_id, last_day, ends_at, lifted_at, lifted_at is null and ends_at > service_now()
from bar
where applicant_key = %(applicant_key)s
order by ends_at
