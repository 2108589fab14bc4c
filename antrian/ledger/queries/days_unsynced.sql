-- Returns some of the finished days that are not synced to Redis. out: office_id, service_date, done_at.
select office_id, service_date, done_at
from day_done
where not synced
order by service_date, office_id
limit 50
