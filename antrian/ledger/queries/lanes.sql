-- Returns the offices that have a lane, by id. out: office_id.
select office_id
from lane
order by office_id
