#!lua flags=no-writes
-- Reads bookings while they wait in their lanes. ARGV: booking ids (16 bytes each).
-- Returns now (ms), then what look() returns of each. Holds: P8.

-- Returns for a booking whose ticket is not settled yet: office, ticket, requests ahead, remaining places of the slot (-1 if
-- unknown), its queue entry. Returns {} for any other: the ledger may have it.
local function look(id)
  local known = redis.call('HGET', bucket('requests', id), id)
  if not known then return {} end
  local office, ticket = known:match('^%S+ (%S+) (%d+)')
  local settled = tonumber(redis.call('HGET', key('lane', office), 'settled') or -1)
  if settled < 0 or tonumber(ticket) <= settled then return {} end
  local entry = redis.call('XRANGE', key('queue', office), ticket .. '-0', ticket .. '-0')[1]
  if not entry then return {} end
  local request = request_of(entry)
  local places = redis.call('HGET', key('counters', office), slot_of(request))
  local remaining = places and tonumber(places:match('^%d+ (%d+)')) or -1
  return { office, tonumber(ticket), ticket - settled - 1, remaining, request }
end

local reply = { now_ms() }
for i, id in ipairs(ARGV) do reply[i + 1] = look(id) end
return reply
