-- Counts the people whose data are encrypted to each key pair. out: pair_id, people.
select substring(encrypted for 8) as pair_id, count(*) as people
from applicant
where length(encrypted) > 0
group by 1
