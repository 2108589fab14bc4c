-- How far the service's time is ahead of real time. out: ahead (interval).
select ahead
from clock
