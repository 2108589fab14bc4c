#!lua flags=allow-oom
-- Marks every lane ready that has work but no consumer, after a consumer was killed or a ready mark was lost.
-- ARGV: the current inventory version, then the offices.
-- Returns: how many lanes were marked. Holds: P2, P15.
local marked, us = 0, real_us()
for i = 2, #ARGV do
  local office = ARGV[i]
  local lane = read_lane(office)
  local waits = lane.ticket ~= lane.settled or lane.command ~= lane.settled_command or lane.inventory ~= ARGV[1]
  if lane.lease <= us and (not lane.open or lane.open == '1' and waits) then
    marked = marked + redis.call('ZADD', 'ready', 'NX', us, office)
  end
end
return marked
