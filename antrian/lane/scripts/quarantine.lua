#!lua flags=allow-oom
-- Closes a lane about which Redis and the ledger disagree: nobody joins or drains it until it is rebuilt.
-- ARGV: office, token. Returns: FENCED | CLOSED. Holds: P1, P3, P9.
if fenced(ARGV[1], ARGV[2]) then return { 'FENCED' } end
redis.call('HSET', key('lane', ARGV[1]), 'open', 0, 'lease', 0)
return { 'CLOSED' }
