#!lua
-- Adds a command that changes an office's places or people (a cancel, a quota, the end of a bar) to its lane.
-- ARGV: office, maximum number of commands, text.
-- Returns: LANE_CLOSED | LANE_FULL waiting | SENT number. Holds: P1 (only its consumer changes counters), P12.
local office = ARGV[1]
local lane = redis.call('HMGET', key('lane', office), 'open', 'command', 'settled_command')
if lane[1] ~= '1' then return { 'LANE_CLOSED' } end
local number, waiting = (lane[2] or 0) + 1, (lane[2] or 0) - (lane[3] or 0)
if waiting >= tonumber(ARGV[2]) then return { 'LANE_FULL', waiting } end

redis.call('XADD', key('commands', office), string.format('%d-0', number), 'd', ARGV[3])
redis.call('HSET', key('lane', office), 'command', number)
mark_ready(office)
return { 'SENT', number }
