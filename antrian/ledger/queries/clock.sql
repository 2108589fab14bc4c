-- Returns how far the service's clock is ahead of real time. out: ahead (interval).
select ahead
from clock
