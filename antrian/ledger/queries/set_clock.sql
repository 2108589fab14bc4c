-- Moves the service's time, forward only: changes the one row, or none when it would go back. in: ahead (interval).
update clock
set ahead = %(ahead)s
where ahead <= %(ahead)s
