-- How a lane is leased, and how its next tickets are decided. Included by lease.lua, decide.lua and lease_and_decide.lua.
--
-- A decision is "CONFIRMED first-number", "SLOT_FULL", "TOO_LATE" or "DAY_CLOSED". decide() returns one of
--   DECIDED first-ticket, then two texts a ticket: its decision, and what its queue entry has;
--   COMMANDS first-number, then one text a command;
--   GAP ticket (the queue or the commands lack it); MISSING slot (it has no counters).
-- Holds: P1, P2, P3 (one consumer a lane, each with a newer token), P6, P13.
local us = real_us()
local now, real_now = service_time(us)

-- Leases a lane under a new token. nil when somebody else holds it, or when it is quarantined until its rebuild.
local function lease_lane(office, lease_ms)
  local lane = read_lane(office)
  if lane.open == '0' or lane.lease > us then return nil end
  lane.token = format('%d', lane.token + 1)
  redis.call('HSET', key('lane', office), 'token', lane.token, 'lease', format('%d', us + 1000 * lease_ms))
  return lane
end

-- What the caller learns of a lane: office, token, known (0 when Redis has never seen the lane), inventory version, now (ms),
-- and what was decided, if anything.
local function describe(office, lane, decided)
  return { office, tonumber(lane.token), lane.open and 1 or 0, lane.inventory, now, decided }
end

-- Commands are handed out again as they were until they are settled.
local function next_commands(office, lane, max_commands)
  local first, last = lane.settled_command + 1, lane.leased_command
  if last < first then last = math.min(lane.command, lane.settled_command + max_commands) end
  local commands = redis.call('XRANGE', key('commands', office), first .. '-0', last .. '-0')
  if #commands < last - lane.settled_command then return { 'GAP', first } end
  redis.call('HSET', key('lane', office), 'leased_command', last)
  local reply = { 'COMMANDS', first }
  for i, entry in ipairs(commands) do reply[i + 2] = entry[2][2] end
  return reply
end

-- Decides the next tickets in arrival order into the lane's outbox. An outbox that is not settled is handed out again
-- instead, with the same decisions; commands come before tickets. max_tickets 0 hands out only what is in the outbox.
local function decide(office, lane, max_tickets, max_commands)
  local settled = lane.settled
  local outbox = decisions_of(lane.outbox)
  local again = #outbox > 0

  if not again and lane.command > lane.settled_command then return next_commands(office, lane, max_commands) end

  local entries = redis.call('XRANGE', key('queue', office), settled + 1 .. '-0', '+',
    'COUNT', again and #outbox or max_tickets) or {} -- COUNT 0 returns false
  local due = again and #outbox or math.min(max_tickets, lane.ticket - settled)

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
    redis.call('SET', 'time', format('%d', real_now))
  end
  return reply
end
