#!lua flags=no-writes
-- Reads bookings while they wait in their lanes.
-- include: waiting
-- ARGV: booking ids (16 bytes each). Returns what look_all() returns. Holds: P8.
return look_all(ARGV)
