-- When the latest of the days was done that Redis has been told of; null when there is none. out: done_at.
select max(done_at)
from day_done
where told
