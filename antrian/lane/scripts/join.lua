#!lua
-- Accepts requests into their offices' lines, one after the other, each wholly or not at all.
-- include: people
-- ARGV: lane bound, most people an account, most people that it may ask for in a window, then 6 a request: it as codec.py packs it, owner (8 bytes), office, windows of
--   the slot's date ("from-to,from-to", ms), keep until (hours), verdict on place and day ("" or a reason).
-- Returns: now (ms), then one array a request, the first refusal that holds:
--   KNOWN office ticket | REQUEST_ID_REUSED | LANE_CLOSED | the verdict | WINDOW | DAY_CLOSED |
--   ALREADY_BOOKED n booking-id (by this account) | ACCOUNT_LIMIT live | LANE_FULL waiting | PEOPLE_LIMIT |
--   ALREADY_BOOKED n "" (by another) | BARRED n last-day | JOINED ticket ahead remaining
-- What others have booked is synced last, and noted before: an account learns it of so many people a window, and no more.
-- Holds: P2-P5, P11, P12. Only refused, never half done, when Redis is full.
local BOUND, MOST, MOST_TRIED, STRIDE = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), 6
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
  local counters = lane.places[slot] or counters_of_slot(office, slot)
  lane.places[slot] = counters
  return counters
end

-- When the open one of these windows ends (ms), or false.
local function in_window(windows)
  if opened[windows] == nil then
    opened[windows] = false
    for from, to in windows:gmatch('(%d+)-(%d+)') do
      if now >= tonumber(from) and now < tonumber(to) then opened[windows] = tonumber(to) end
    end
  end
  return opened[windows]
end

-- What Redis has of each of the people (false: nothing), and the refusal of the first whom this account itself has booked.
local function look_up(people, owner)
  local entries, own = {}, nil
  for n = 0, #people / 16 - 1 do
    local person = people:sub(n * 16 + 1, n * 16 + 16)
    local entry = redis.call('HGET', bucket('applicants', person), person)
    entries[n + 1] = entry
    if not own and entry and entry:sub(1, 1) == 'B' and entry:sub(18) == owner then
      own = { 'ALREADY_BOOKED', n, entry:sub(2, 17) }
    end
  end
  return entries, own
end

local function refused_for_others(entries)
  for n, entry in ipairs(entries) do
    if entry and entry:sub(1, 1) == 'B' then
      return { 'ALREADY_BOOKED', n - 1, '' }
    elseif entry then
      local ends, last_day = barred_until(entry)
      if now < ends then return { 'BARRED', n - 1, last_day } end
    end
  end
end

-- Notes that an account asks for these people in the window that ends then; false when they would be too many.
local function note_tried(owner, people, window_ends)
  local name, window = bucket('tried', owner), format('%d', math.ceil(window_ends / 3600000))
  local until_hour, tried = (redis.call('HGET', name, owner) or ''):match('^(%d+) (.*)$')
  if until_hour ~= window then tried = '' end
  local known = {}
  for n = 1, #tried, 4 do known[tried:sub(n, n + 3)] = true end
  local after = tried
  for n = 1, #people, 16 do
    local person = people:sub(n, n + 3)
    if not known[person] then after = after .. person end
  end
  if #after > 4 * MOST_TRIED then return false end
  if after ~= tried then redis.call('HSET', name, owner, window .. ' ' .. after) end
  return true
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
  local window_ends = in_window(windows)
  if not window_ends then return { 'WINDOW' } end
  local counters = counters_of(lane, office, slot)
  if not counters then return { 'LANE_CLOSED' } end
  if counters.closed then return { 'DAY_CLOSED' } end
  local entries, own = look_up(people, owner)
  if own then return own end
  local party, held = party_of(request), held_by(owner)
  local live = live_of(held)
  if live + party > MOST then return { 'ACCOUNT_LIMIT', live } end
  local ticket, waiting = format('%d', lane.ticket + 1), lane.ticket - lane.settled
  if waiting >= BOUND then return { 'LANE_FULL', waiting } end
  if not note_tried(owner, people, window_ends) then return { 'PEOPLE_LIMIT' } end
  local refusal = refused_for_others(entries)
  if refusal then return refusal end

  redis.call('XADD', key('queue', office), ticket .. '-0', 'r', request .. at)
  redis.call('HSET', key('lane', office), 'ticket', ticket)
  redis.call('HSET', requests, id, fingerprint .. ' ' .. office .. ' ' .. ticket .. ' ' .. keep)
  for n = 1, #people, 16 do
    local person = people:sub(n, n + 15)
    redis.call('HSET', bucket('applicants', person), person, 'B' .. id .. owner)
  end
  count_live(owner, held, id, party)
  lane.ticket = lane.ticket + 1
  if waiting == 0 then mark_ready(office) end -- else it is marked, or leased, or the sweep heals it
  return { 'JOINED', lane.ticket, waiting, counters.remaining }
end

local replies = { now }
for i = 4, #ARGV, STRIDE do
  replies[#replies + 1] = join(unpack(ARGV, i, i + STRIDE - 1))
end
return replies
