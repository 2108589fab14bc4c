#!lua flags=allow-oom
-- Checks, after a connection to Redis was lost, that it still has the tickets which this server acknowledged, and
-- quarantines the lanes where it does not: another Redis without them may have taken over, or an older snapshot. What such a
-- lane does next would hand out the same tickets again. ARGV: 3 a lane: office, its highest acknowledged ticket, and the
-- booking id of that. Redis replicates in order, so the highest stands for all tickets before it.
-- Returns: the offices whose tickets are lost. Holds: P2, P3.
local function lost(office, ticket, id)
  local lane = read_lane(office)
  if not lane.open then return false end -- Redis does not know the lane at all: it opens again only if the ledger is empty
  if lane.ticket < ticket then return true end
  if lane.settled >= ticket then return false end -- the ledger has it, or a rebuild has counted it as lost
  local entry = redis.call('XRANGE', key('queue', office), ticket .. '-0', ticket .. '-0')[1]
  return not entry or id_of(request_of(entry)) ~= id
end

local offices = {}
for i = 1, #ARGV, 3 do
  if lost(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]) then offices[#offices + 1] = ARGV[i] end
end
for _, office in ipairs(offices) do redis.call('HSET', key('lane', office), 'open', 0, 'lease', 0) end
return offices
