-- Bars that have not ended. out: applicant_key, ends_at, last_day.
select applicant_key, ends_at, last_day
from bar
where ends_at > service_now()
