#!lua flags=no-writes
-- Bookings while they are in their lanes. ARGV: booking ids (16 bytes each).
-- Returns: now (ms), then an array a booking. While its ticket is above settled: office, ticket, requests ahead, places
-- remaining in the slot (-1 when not known), what its line entry has. Empty: ask the ledger.
-- Holds: P8.
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
