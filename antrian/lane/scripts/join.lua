#!lua
-- Accepts requests into the queues of their offices, one after the other, each wholly or not at all.
-- include: people
-- include: refusals
-- include: limits
-- ARGV: lane bound, most people of an account, most people that an account may ask for in a window, then per limit (accounts,
--   devices, address prefixes) the ms between requests (0: no limit) and by how many ms a burst may be ahead, then 7 a request:
--   the request as codec.py packs it, owner (8 bytes), askers (whose limits count it, as limits.lua takes them), office,
--   windows of the slot's date ("from-to,from-to", ms), keep until (hours), refusal for its place or day ("" or a reason).
-- Returns: now (ms), then one array a request, the first that holds:
--   KNOWN office ticket | REQUEST_ID_REUSED | LANE_CLOSED | the refusal | WINDOW | DAY_CLOSED |
--   ALREADY_BOOKED n booking-id (by this account) | SLOT_FULL remaining | ACCOUNT_LIMIT live | LANE_FULL waiting |
--   a limit's reason, ms to wait | PEOPLE_LIMIT | ALREADY_BOOKED n "" (by another) | BARRED n last-day | HELD_UNVERIFIED, then
--   n booking-id for each verified person whom another account holds unverified | JOINED ticket ahead remaining
-- What others have booked comes last and is noted before: an account learns it of a limited number of people per window. Limits
-- count what may take a place or tell of others: a repeat or a full slot writes nothing.
-- SLOT_FULL is certain: requests ahead only take places. It comes after KNOWN, so no repeat of an accepted request hears it.
-- Holds: P2-P5, P11, P12. A full Redis refuses all of it, and none is half done.
local BOUND, MOST, MOST_TRIED, STRIDE, LIMITS = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), 7, {}
for n, kind in ipairs({ 'a', 'd', 'p' }) do LIMITS[kind] = { every = tonumber(ARGV[2 + 2 * n]), ahead = tonumber(ARGV[3 + 2 * n]) } end
local at = format(' %d', now) -- the blank: behind encrypted bytes that look like digits it would look like a NIK
local lanes = {} -- what this call has read already

local function lane_of(office)
  local lane = lanes[office]
  if not lane then
    local read = redis.call('HMGET', key('lane', office), 'open', 'ticket', 'settled')
    lane = { open = read[1] == '1', ticket = tonumber(read[2]), settled = tonumber(read[3]), slots = {} }
    lanes[office] = lane
  end
  return lane
end

local function counters_of(lane, office, slot)
  local counters = lane.slots[slot] or counters_of_slot(office, slot)
  lane.slots[slot] = counters
  return counters
end

local function join(request, owner, askers, office, windows, keep, refusal)
  local id, fingerprint, slot, people = id_of(request), fingerprint_of(request), slot_of(request), people_of(request)
  local kinds = kinds_of(request)
  local requests = bucket('requests', id)
  local known = redis.call('HGET', requests, id)
  if known then
    local print, at_office, ticket = known:match('^(%S+) (%S+) (%d+)')
    if print ~= fingerprint then return { 'REQUEST_ID_REUSED' } end
    return { 'KNOWN', at_office, tonumber(ticket) }
  end
  local lane = lane_of(office)
  if not lane.open then return { 'LANE_CLOSED' } end
  if refusal ~= '' then return { refusal } end
  local window_ends = in_window(windows)
  if not window_ends then return { 'WINDOW' } end
  local counters = counters_of(lane, office, slot)
  if not counters then return { 'LANE_CLOSED' } end
  if counters.closed then return { 'DAY_CLOSED' } end
  local entries, own = look_up(people, owner)
  if own then return own end
  local party = party_of(request)
  if counters.remaining < party then return { 'SLOT_FULL', counters.remaining } end
  local held = held_by(owner)
  local live = live_of(held)
  if live + party > MOST then return { 'ACCOUNT_LIMIT', live } end
  local ticket, waiting = format('%d', lane.ticket + 1), lane.ticket - lane.settled
  if waiting >= BOUND then return { 'LANE_FULL', waiting } end
  local limited = count_request(askers, LIMITS)
  if limited then return limited end
  if not note_tried(owner, people, window_ends, MOST_TRIED) then return { 'PEOPLE_LIMIT' } end
  local others = refused_for_others(entries, kinds)
  if others then return others end

  redis.call('XADD', key('queue', office), ticket .. '-0', 'r', request .. at)
  redis.call('HSET', key('lane', office), 'ticket', ticket)
  redis.call('HSET', requests, id, fingerprint .. ' ' .. office .. ' ' .. ticket .. ' ' .. keep)
  for n = 1, #kinds do
    local person = people:sub(n * 16 - 15, n * 16)
    redis.call('HSET', bucket('applicants', person), person, kinds:sub(n, n) .. id .. owner)
  end
  count_live(owner, held, id, party)
  lane.ticket = lane.ticket + 1
  if waiting == 0 then mark_ready(office) end -- else it is marked, or leased, or the sweep marks it
  return { 'JOINED', lane.ticket, waiting, counters.remaining }
end

local replies = { now }
for i = 10, #ARGV, STRIDE do
  replies[#replies + 1] = join(unpack(ARGV, i, i + STRIDE - 1))
end
return replies
