#!lua
-- Reads bookings like look.lua, to be followed by WAIT: what it returns is replicated then. Valkey's WAIT returns at once on a
-- connection that has written nothing since its last WAIT, so this writes.
-- include: waiting
-- ARGV: booking ids (16 bytes each). Returns what look_all() returns. Holds: P2, P8.
redis.call('INCR', 'barrier')
return look_all(ARGV)
