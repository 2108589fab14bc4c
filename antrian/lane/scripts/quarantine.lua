#!lua flags=allow-oom
-- Closes a lane whose Redis and ledger no longer agree: nobody joins, nobody drains, until it is rebuilt.
-- ARGV: office, token. Returns: FENCED | CLOSED. Holds: P1, P3, P9.
if fenced(ARGV[1], ARGV[2]) then return { 'FENCED' } end
redis.call('HSET', key('lane', ARGV[1]), 'open', 0, 'lease', 0)
return { 'CLOSED' }
