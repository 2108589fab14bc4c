#!lua flags=allow-oom
-- Empties a lane that was acquired for a rebuild. ARGV: office, token.
-- Returns: FENCED | CLEARED how many queue entries and commands were dropped. Holds: P9.
local office = ARGV[1]
if fenced(office, ARGV[2]) then return { 'FENCED' } end
local lost = redis.call('XLEN', key('queue', office)) + redis.call('XLEN', key('commands', office))
redis.call('DEL', key('queue', office), key('commands', office), key('counters', office))
redis.call('HDEL', key('lane', office), 'ticket', 'settled', 'outbox', 'command', 'settled_command', 'leased_command', 'inventory')
return { 'CLEARED', lost }
