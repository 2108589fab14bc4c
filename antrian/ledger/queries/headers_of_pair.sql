-- Counts the people whose data are encrypted to a key pair. in: pair_id. out: header (of their data), people.
select substring(encrypted for 88) as header, count(*) as people
from applicant
where substring(encrypted for 8) = %(pair_id)s
group by 1
