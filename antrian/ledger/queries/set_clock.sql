-- Moves the service's clock forward: changes the one row, or none if the clock would go back. in: ahead (interval).
update clock
set ahead = %(ahead)s
where ahead <= %(ahead)s
