#!lua flags=allow-oom
-- Opens a lane that Redis does not know, once it has its counters, as the ledger says that it stands.
-- ARGV: office, token of the lease, token that the ledger raised (goes on under this one), epoch, last ticket.
-- Answers: FENCED | OPENED. Holds: P1, P3, P9.
local office, lane = ARGV[1], key('lane', ARGV[1])
if fenced(office, ARGV[2]) then return { 'FENCED' } end
redis.call('HSET', lane, 'token', ARGV[3], 'epoch', ARGV[4], 'ticket', ARGV[5], 'settled', ARGV[5], 'open', 1)
return { 'OPENED' }
