#!lua flags=no-writes
-- Bookings while they are in their lanes. ARGV: booking ids (16 bytes each).
-- Answers: now (ms), then an array a booking. While its ticket is above settled: office, ticket, requests ahead, places
-- left in the slot (-1 when not known), the line entry's fields. Empty: ask the ledger. Holds: P8.
local function look(id)
  local known = redis.call('HGET', bucket('requests', id), id)
  if not known then return {} end
  local office, ticket = known:match('^%S+ (%S+) (%d+)')
  local settled = tonumber(redis.call('HGET', key('lane', office), 'settled') or -1)
  if settled < 0 or tonumber(ticket) <= settled then return {} end
  local entry = redis.call('XRANGE', key('line', office), ticket .. '-0', ticket .. '-0')[1]
  if not entry then return {} end
  local counters = places_of(office, fields(entry).s)
  return { office, tonumber(ticket), ticket - settled - 1, counters and counters.left or -1, entry[2] }
end

local answer = { now_ms() }
for i, id in ipairs(ARGV) do answer[i + 1] = look(id) end
return answer
