#!lua flags=allow-oom
-- Opens a lane that has its counters, as the ledger says that it stands: a new one, or one that was rebuilt.
-- ARGV: office, token of the lease, token that the ledger raised (goes on under this one), epoch, last ticket, last desk
-- number. Answers: FENCED | NOT_WHOLE (Redis may not know of bars and bookings: rebuild) | OPENED.
-- Holds: P1, P3, P4, P9.
local office, lane = ARGV[1], key('lane', ARGV[1])
if fenced(office, ARGV[2]) then return { 'FENCED' } end
if redis.call('EXISTS', 'whole') == 0 then return { 'NOT_WHOLE' } end
redis.call('HSET', lane, 'token', ARGV[3], 'epoch', ARGV[4], 'ticket', ARGV[5], 'settled', ARGV[5],
  'desk', ARGV[6], 'desked', ARGV[6], 'handed', ARGV[6], 'open', 1)
return { 'OPENED' }
