-- Returns the last day for which each office has slots. out: office_id, service_date.
select office_id, max(service_date)
from slot
group by office_id
