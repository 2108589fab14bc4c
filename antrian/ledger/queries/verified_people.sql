-- Returns who of these people holds a live booking, and whether they were verified. in: keys. out: applicant_key, booking_id,
-- verified.
select applicant_key, booking_id, verified
from applicant
where live and applicant_key = any(%(keys)s::bytea[])
