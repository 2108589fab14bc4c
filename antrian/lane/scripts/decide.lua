#!lua flags=allow-oom
-- Leases the lanes that have been ready for longest, and decides the next tickets of lanes in arrival order into their
-- outboxes. An outbox that is not settled is handed out again instead: same tickets, same decisions. Then the desk comes
-- before the line: what it asks is handed out for the ledger to judge, and a batch that is not settled is handed out
-- again as it was.
-- ARGV: lease time (ms), most lanes to lease, most tickets in them (no further lane once so many wait), mark of a stock
--   that is whole ("": only lease), most tickets to decide a lane (0: only what is in the outbox), most desk entries, then
--   office and token of each lane that is to be decided whatever its stock, or with "" for the token: leased first.
-- A closed lane is not to be had: it waits for its rebuild. One under a live lease only loses its mark: its holder marks it
-- again in settle.lua while there is more to do.
-- Answers: one array a lane: office, token, known (0 when Redis has never seen the lane), the mark of its stock (or ""),
--   now (ms), and, unless its stock has another mark,
--   FENCED | GAP ticket (the line or the desk lacks it) | MISSING slot (no counters) |
--   DESK, the first number, then one text an entry |
--   DECIDED, the first ticket, then two texts a ticket: decision ("CONFIRMED first-number", "SLOT_FULL", "TOO_LATE",
--   "DAY_CLOSED"), and what its line entry has.
-- Holds: P1, P2, P3 (one drainer a lane, each with a newer token), P6, P13.
local lease_time, most_lanes, most_waiting = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local whole_stock, most, most_desk = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local us = real_us()
local now = now_ms(us)

local function ask_desk(office, lane)
  local first, handed = lane.desked + 1, lane.handed
  if handed < first then handed = math.min(lane.desk, lane.desked + most_desk) end
  local asked = redis.call('XRANGE', key('desk', office), first .. '-0', handed .. '-0')
  if #asked < handed - lane.desked then return { 'GAP', first } end
  redis.call('HSET', key('lane', office), 'handed', handed)
  local answer = { 'DESK', first }
  for i, entry in ipairs(asked) do answer[i + 2] = entry[2][2] end
  return answer
end

local function decide(office, lane)
  local settled = lane.settled
  local outbox = decisions_of(lane.outbox)
  local again = #outbox > 0

  if not again and lane.desk > lane.desked then return ask_desk(office, lane) end

  local entries = redis.call('XRANGE', key('line', office), settled + 1 .. '-0', '+',
    'COUNT', again and #outbox or most) or {} -- of none, Redis makes false
  local due = again and #outbox or math.min(most, lane.ticket - settled)

  local slots, answer = {}, { 'DECIDED', settled + 1 }
  for i, entry in ipairs(entries) do
    local request, decision = request_of(entry), outbox[i]
    local slot = slot_of(request)
    if ticket_of(entry) ~= settled + i then return { 'GAP', settled + i } end
    if not again then
      local counters = slots[slot] or places_of(office, slot)
      if not counters then return { 'MISSING', slot } end
      slots[slot] = counters
      local party = party_of(request)
      if now >= counters.begins then
        decision = 'TOO_LATE'
      elseif counters.closed then
        decision = 'DAY_CLOSED'
      elseif counters.left < party then
        decision = 'SLOT_FULL'
      else
        decision = format('CONFIRMED %d', counters.next)
        counters.left, counters.next = counters.left - party, counters.next + party
      end
      outbox[i] = decision
    end
    answer[2 * i + 1], answer[2 * i + 2] = decision, request
  end

  if #entries < due then return { 'GAP', settled + #entries + 1 } end

  if not again and #outbox > 0 then
    for slot, counters in pairs(slots) do write_places(office, slot, counters) end
    redis.call('HSET', key('lane', office), 'outbox', table.concat(outbox, '\n'))
  end
  return answer
end

local answers, waiting = {}, 0

local function reply(office, token, lane, decided)
  answers[#answers + 1] = { office, tonumber(token), lane.open and 1 or 0, lane.stocked, now, decided }
end

local function take(office)
  local lane = read_lane(office)
  local token = string.format('%d', lane.token + 1)
  if lane.open == '0' or lane.lease > us then return end
  redis.call('HSET', key('lane', office), 'token', token, 'lease', string.format('%d', us + 1000 * lease_time))
  waiting = waiting + lane.ticket - lane.settled
  local may_decide = lane.open and whole_stock ~= '' and lane.stocked == whole_stock
  reply(office, token, lane, may_decide and decide(office, lane))
end

for i = 7, #ARGV, 2 do
  local office, token = ARGV[i], ARGV[i + 1]
  if token == '' then
    redis.call('ZREM', 'ready', office)
    take(office)
  else
    local lane = read_lane(office)
    reply(office, token, lane, fenced(office, token, lane.token) and { 'FENCED' } or decide(office, lane))
  end
end
while #answers < most_lanes and waiting < most_waiting do
  local office = redis.call('ZPOPMIN', 'ready')[1]
  if not office then break end
  take(office)
end
return answers
