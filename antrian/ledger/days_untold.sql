-- Days that are done and whose people Redis has not been told of. out: office_id, service_date.
select office_id, service_date
from day_done
where not told
order by service_date, office_id
