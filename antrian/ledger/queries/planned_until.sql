-- Until which day the offices' slots are made; a later day's will have the quota of that time. out: office_id, service_date.
select office_id, max(service_date)
from slot
group by office_id
