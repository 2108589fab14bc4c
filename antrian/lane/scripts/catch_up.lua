#!lua flags=allow-oom
-- Makes a lane follow a ledger that is ahead of it: a Redis that took over without the latest decisions, or an older
-- snapshot. Its tickets up to the ledger's last are settled; the requests behind them keep their tickets. Safe to repeat.
-- ARGV: office, token of the lease, token above the ledger's (the lease continues under it), the ledger's last ticket, then
--   6 a slot as the ledger has it: slot, quota, remaining, next number, begins (ms), closed (0 or 1).
-- Returns: FENCED | CAUGHT_UP. The caller has checked that the ledger's tickets are those of the queue, and restores people
-- afterwards. Holds: P1, P2, P3.
local office, last = ARGV[1], tonumber(ARGV[4])
if fenced(office, ARGV[2]) then return { 'FENCED' } end
for i = 5, #ARGV, 6 do
  redis.call('HSET', key('counters', office), ARGV[i], table.concat(ARGV, ' ', i + 1, i + 5))
end
redis.call('XTRIM', key('queue', office), 'MINID', format('%d-0', last + 1))
redis.call('HSET', key('lane', office), 'token', ARGV[3], 'settled', last, 'outbox', '')
return { 'CAUGHT_UP' }
