#!lua flags=allow-oom
-- Leases one lane: the given office's, or the one that has been ready for longest.
-- include: decisions
-- ARGV: lease time (ms), office or "".
-- Returns what describe() returns of the lane, or nothing if none can be leased.
-- A lane under a live lease loses its ready mark only: its holder marks it again in settle.lua while there is more to do.
local office = ARGV[2]
if office ~= '' then
  redis.call('ZREM', 'ready', office)
else
  office = redis.call('ZPOPMIN', 'ready')[1]
end
local lane = office and lease_lane(office, ARGV[1])
return lane and describe(office, lane)
