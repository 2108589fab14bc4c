#!lua
-- Accepts requests into their offices' lines, one after the other, each wholly or not at all.
-- ARGV: lane bound, most people an account, then 6 a request: it as entry.py packs it, owner (8 bytes), office, windows of
--   the slot's date ("from-to,from-to", ms), keep until (hours), verdict on place and day ("" or a reason).
-- Answers: now (ms), then one array a request, the first refusal that holds:
--   KNOWN office ticket | REQUEST_ID_REUSED | LANE_CLOSED | the verdict | WINDOW | DAY_CLOSED | BARRED n last-day |
--   ALREADY_BOOKED n booking-id ("" when another's) | ACCOUNT_LIMIT live | LANE_FULL waiting | JOINED ticket ahead left
-- Holds: P2-P5, P11, P12. Only refused, never half done, when Redis is full.
local BOUND, MOST, STRIDE = tonumber(ARGV[1]), tonumber(ARGV[2]), 6
local now = now_ms()
local at = format(' %d', now) -- the blank: behind sealed bytes that look like digits it would look like a NIK
local lanes, opened = {}, {} -- what this call has read already

local function lane_of(office)
  local lane = lanes[office]
  if not lane then
    local read = redis.call('HMGET', key('lane', office), 'open', 'ticket', 'settled')
    lane = { open = read[1] == '1', ticket = tonumber(read[2]), settled = tonumber(read[3]), places = {} }
    lanes[office] = lane
  end
  return lane
end

local function counters_of(lane, office, slot)
  local counters = lane.places[slot] or places_of(office, slot)
  lane.places[slot] = counters
  return counters
end

local function in_window(windows)
  if opened[windows] == nil then
    opened[windows] = false
    for from, to in windows:gmatch('(%d+)-(%d+)') do
      if now >= tonumber(from) and now < tonumber(to) then opened[windows] = true end
    end
  end
  return opened[windows]
end

local function refused_applicant(people, owner)
  for n = 0, #people / 16 - 1 do
    local person = people:sub(n * 16 + 1, n * 16 + 16)
    local entry = redis.call('HGET', bucket('applicants', person), person)
    if entry and entry:sub(1, 1) == 'B' then
      return { 'ALREADY_BOOKED', n, entry:sub(18) == owner and entry:sub(2, 17) or '' }
    elseif entry then
      local ends, last_day = entry:match('^X(%d+) (.+)$')
      if now < tonumber(ends) then return { 'BARRED', n, last_day } end
    end
  end
end

local function join(request, owner, office, windows, keep, verdict)
  local id, fingerprint, slot, people = id_of(request), fingerprint_of(request), slot_of(request), people_of(request)
  local requests = bucket('requests', id)
  local known = redis.call('HGET', requests, id)
  if known then
    local print, at_office, ticket = known:match('^(%S+) (%S+) (%d+)')
    if print ~= fingerprint then return { 'REQUEST_ID_REUSED' } end
    return { 'KNOWN', at_office, tonumber(ticket) }
  end
  local lane = lane_of(office)
  if not lane.open then return { 'LANE_CLOSED' } end
  if verdict ~= '' then return { verdict } end
  if not in_window(windows) then return { 'WINDOW' } end
  local counters = counters_of(lane, office, slot)
  if not counters then return { 'LANE_CLOSED' } end
  if counters.closed then return { 'DAY_CLOSED' } end
  local refusal = refused_applicant(people, owner)
  if refusal then return refusal end
  local party, held = party_of(request), held_by(owner)
  local live = live_of(held)
  if live + party > MOST then return { 'ACCOUNT_LIMIT', live } end
  local ticket, waiting = format('%d', lane.ticket + 1), lane.ticket - lane.settled
  if waiting >= BOUND then return { 'LANE_FULL', waiting } end

  redis.call('XADD', key('line', office), ticket .. '-0', 'r', request .. at)
  redis.call('HSET', key('lane', office), 'ticket', ticket)
  redis.call('HSET', requests, id, fingerprint .. ' ' .. office .. ' ' .. ticket .. ' ' .. keep)
  for n = 1, #people, 16 do
    local person = people:sub(n, n + 15)
    redis.call('HSET', bucket('applicants', person), person, 'B' .. id .. owner)
  end
  count_live(owner, held, id, party)
  lane.ticket = lane.ticket + 1
  if waiting == 0 then mark_ready(office) end -- else it is marked, or leased, or the sweep heals it
  return { 'JOINED', lane.ticket, waiting, counters.left }
end

local answers = { now }
for i = 3, #ARGV, STRIDE do
  answers[#answers + 1] = join(unpack(ARGV, i, i + STRIDE - 1))
end
return answers
