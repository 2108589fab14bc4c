#!lua flags=allow-oom
-- Leases the lanes that have been ready for longest, and decides the next tickets of lanes in arrival order into their
-- outboxes. An outbox that is not settled is leased_command out again instead: same tickets, same decisions. Then the command comes
-- before the line: what it asks is leased_command out for the ledger to judge, and a batch that is not settled is leased_command out
-- again as it was.
-- ARGV: lease time (ms), most lanes to lease, most tickets in them (no further lane once so many wait), mark of a stock
--   that is restored ("": only lease), most tickets to decide a lane (0: only what is in the outbox), most command entries, then
--   office and token of each lane that is to be decided whatever its stock, or with "" for the token: leased first.
-- A closed lane is not to be had: it waits for its rebuild. One under a live lease only loses its mark: its holder marks it
-- again in settle.lua while there is more to do.
-- Answers: one array a lane: office, token, known (0 when Redis has never seen the lane), the mark of its stock (or ""),
--   now (ms), and, unless its stock has another mark,
--   FENCED | GAP ticket (the line or the command lacks it) | MISSING slot (no counters) |
--   COMMANDS, the first number, then one text an entry |
--   DECIDED, the first ticket, then two texts a ticket: decision ("CONFIRMED first-number", "SLOT_FULL", "TOO_LATE",
--   "DAY_CLOSED"), and what its line entry has.
-- Holds: P1, P2, P3 (one drainer a lane, each with a newer token), P6, P13.
local lease_time, most_lanes, most_waiting = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local inventory, most, max_commands = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local us = real_us()
local now = now_ms(us)

local function next_commands(office, lane)
  local first, leased_command = lane.settled_command + 1, lane.leased_command
  if leased_command < first then leased_command = math.min(lane.command, lane.settled_command + max_commands) end
  local asked = redis.call('XRANGE', key('commands', office), first .. '-0', leased_command .. '-0')
  if #asked < leased_command - lane.settled_command then return { 'GAP', first } end
  redis.call('HSET', key('lane', office), 'leased_command', leased_command)
  local reply = { 'COMMANDS', first }
  for i, entry in ipairs(asked) do reply[i + 2] = entry[2][2] end
  return reply
end

local function decide(office, lane)
  local settled = lane.settled
  local outbox = decisions_of(lane.outbox)
  local again = #outbox > 0

  if not again and lane.command > lane.settled_command then return next_commands(office, lane) end

  local entries = redis.call('XRANGE', key('queue', office), settled + 1 .. '-0', '+',
    'COUNT', again and #outbox or most) or {} -- of none, Redis makes false
  local due = again and #outbox or math.min(most, lane.ticket - settled)

  local slots, reply = {}, { 'DECIDED', settled + 1 }
  for i, entry in ipairs(entries) do
    local request, decision = request_of(entry), outbox[i]
    local slot = slot_of(request)
    if ticket_of(entry) ~= settled + i then return { 'GAP', settled + i } end
    if not again then
      local counters = slots[slot] or counters_of_slot(office, slot)
      if not counters then return { 'MISSING', slot } end
      slots[slot] = counters
      local party = party_of(request)
      if now >= counters.begins then
        decision = 'TOO_LATE'
      elseif counters.closed then
        decision = 'DAY_CLOSED'
      elseif counters.remaining < party then
        decision = 'SLOT_FULL'
      else
        decision = format('CONFIRMED %d', counters.next)
        counters.remaining, counters.next = counters.remaining - party, counters.next + party
      end
      outbox[i] = decision
    end
    reply[2 * i + 1], reply[2 * i + 2] = decision, request
  end

  if #entries < due then return { 'GAP', settled + #entries + 1 } end

  if not again and #outbox > 0 then
    for slot, counters in pairs(slots) do write_counters(office, slot, counters) end
    redis.call('HSET', key('lane', office), 'outbox', table.concat(outbox, '\n'))
  end
  return reply
end

local replies, waiting = {}, 0

local function reply(office, token, lane, decided)
  replies[#replies + 1] = { office, tonumber(token), lane.open and 1 or 0, lane.inventory, now, decided }
end

local function take(office)
  local lane = read_lane(office)
  local token = string.format('%d', lane.token + 1)
  if lane.open == '0' or lane.lease > us then return end
  redis.call('HSET', key('lane', office), 'token', token, 'lease', string.format('%d', us + 1000 * lease_time))
  waiting = waiting + lane.ticket - lane.settled
  local may_decide = lane.open and inventory ~= '' and lane.inventory == inventory
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
while #replies < most_lanes and waiting < most_waiting do
  local office = redis.call('ZPOPMIN', 'ready')[1]
  if not office then break end
  take(office)
end
return replies
