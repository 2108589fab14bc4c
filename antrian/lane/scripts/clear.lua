#!lua flags=allow-oom
-- Empties a seized lane before it gets what the ledger has. ARGV: office, token. Answers: FENCED | CLEARED entries lost.
-- Holds: P9.
local office = ARGV[1]
if fenced(office, ARGV[2]) then return { 'FENCED' } end
local lost = redis.call('XLEN', key('line', office)) + redis.call('XLEN', key('desk', office))
redis.call('DEL', key('line', office), key('desk', office), key('places', office))
redis.call('HDEL', key('lane', office), 'ticket', 'settled', 'outbox', 'desk', 'desked', 'handed', 'stocked')
return { 'CLEARED', lost }
