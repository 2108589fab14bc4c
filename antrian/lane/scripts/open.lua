#!lua flags=allow-oom
-- Opens a lane that has its counters, in the state that the ledger has: a new one, or one that was rebuilt.
-- ARGV: office, token of the lease, token that the ledger raised (the lease continues under it), epoch, last ticket, last
-- command. Returns: FENCED | NOT_RESTORED (Redis may not know all bars and bookings: rebuild it) | OPENED.
-- Holds: P1, P3, P4, P9.
local office, lane = ARGV[1], key('lane', ARGV[1])
if fenced(office, ARGV[2]) then return { 'FENCED' } end
if redis.call('EXISTS', 'restored') == 0 then return { 'NOT_RESTORED' } end
redis.call('HSET', lane, 'token', ARGV[3], 'epoch', ARGV[4], 'ticket', ARGV[5], 'settled', ARGV[5],
  'command', ARGV[6], 'settled_command', ARGV[6], 'leased_command', ARGV[6], 'open', 1)
return { 'OPENED' }
