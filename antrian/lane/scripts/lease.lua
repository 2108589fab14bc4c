#!lua flags=allow-oom
-- Leases one lane: the given office's, or the one that has been ready for longest.
-- include: decisions
-- ARGV: lease time (ms), office or "".
-- Returns the lane as describe() has it, or nothing when it cannot be had.
-- A lane under a live lease loses its ready mark only: its holder marks it again in settle.lua while there is more to do.
local office = ARGV[2]
if office ~= '' then
  redis.call('ZREM', 'ready', office)
else
  office = redis.call('ZPOPMIN', 'ready')[1]
end
local lane = office and lease_lane(office, ARGV[1])
return lane and describe(office, lane)
