#!lua flags=allow-oom
-- Leases the lanes that have been ready for longest, and decides the next tickets of those that have their counters.
-- include: decisions
-- ARGV: lease time (ms), most lanes, most waiting tickets (no further lane once the leased ones have as many), inventory
--   version that a lane must have to be decided, most tickets a lane, most commands a lane, then offices whose lanes are
--   leased first, ready or not.
-- Returns one array a lane as describe() has it. What decide() returns is left out for a lane that Redis has never seen or
--   whose counters have another inventory version.
-- A lane under a live lease loses its ready mark only: its holder marks it again in settle.lua while there is more to do.
local lease_ms, max_lanes, max_waiting = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local inventory, max_tickets, max_commands = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local replies, waiting = {}, 0

local function lease_and_decide(office)
  local lane = lease_lane(office, lease_ms)
  if not lane then return end
  waiting = waiting + lane.ticket - lane.settled
  local ready = lane.open and lane.inventory == inventory
  replies[#replies + 1] = describe(office, lane, ready and decide(office, lane, max_tickets, max_commands))
end

for i = 7, #ARGV do
  redis.call('ZREM', 'ready', ARGV[i])
  lease_and_decide(ARGV[i])
end
while #replies < max_lanes and waiting < max_waiting do
  local office = redis.call('ZPOPMIN', 'ready')[1]
  if not office then break end
  lease_and_decide(office)
end
return replies
