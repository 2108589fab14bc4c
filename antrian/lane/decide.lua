#!lua flags=allow-oom
-- Decides the next tickets of lanes in arrival order and puts the decisions into their outboxes. An outbox that is not
-- settled is handed out again instead: same tickets, same decisions. Then the desk comes before the line: what it asks
-- is handed out for the ledger to judge, and a batch that is not settled is handed out again as it was.
-- ARGV: most tickets a lane (0: only what is in the outbox), most desk entries, then office and token of each lane.
-- Answers: one array a lane: FENCED | GAP ticket (the line or the desk lacks it) | MISSING slot (no counters) |
--   DESK, the first number, then one text an entry |
--   DECIDED, then one array a ticket: ticket, decision ("CONFIRMED first-number", "SLOT_FULL", "TOO_LATE",
--   "DAY_CLOSED"), and the line entry's fields as Redis has them (name, value, name, value ...).
-- Holds: P1, P2, P3, P6.
local most, most_desk = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()

local function ask_desk(office, desk, desked, handed)
  if handed <= desked then handed = math.min(desk, desked + most_desk) end
  local asked = redis.call('XRANGE', key('desk', office), desked + 1 .. '-0', handed .. '-0')
  if #asked < handed - desked then return { 'GAP', desked + 1 } end
  redis.call('HSET', key('lane', office), 'handed', handed)
  local answer = { 'DESK', desked + 1 }
  for i, entry in ipairs(asked) do answer[i + 2] = fields(entry).d end
  return answer
end

local function decide(office, token)
  if fenced(office, token) then return { 'FENCED' } end
  local lane = redis.call('HMGET', key('lane', office), 'settled', 'desk', 'desked', 'handed', 'ticket')
  local settled = tonumber(lane[1])
  local outbox = redis.call('LRANGE', key('outbox', office), 0, -1)
  local again = #outbox > 0

  local desk, desked, handed = tonumber(lane[2] or 0), tonumber(lane[3] or 0), tonumber(lane[4] or 0)
  if not again and desk > desked then return ask_desk(office, desk, desked, handed) end

  local entries = redis.call('XRANGE', key('line', office), settled + 1 .. '-0', '+',
    'COUNT', again and #outbox or most) or {} -- of none, Redis makes false
  local due = again and #outbox or math.min(most, lane[5] - settled)

  local slots, answer = {}, { 'DECIDED' }
  for i, entry in ipairs(entries) do
    local slot, decision = slot_of(entry), outbox[i]
    if ticket_of(entry) ~= settled + i then return { 'GAP', settled + i } end
    if not again then
      local counters = slots[slot] or places_of(office, slot)
      if not counters then return { 'MISSING', slot } end
      slots[slot] = counters
      local party = #people_of(entry) / 16
      if now >= counters.begins then
        decision = 'TOO_LATE'
      elseif counters.closed then
        decision = 'DAY_CLOSED'
      elseif counters.left < party then
        decision = 'SLOT_FULL'
      else
        decision = 'CONFIRMED ' .. counters.next
        counters.left, counters.next = counters.left - party, counters.next + party
      end
      outbox[i] = decision
    end
    answer[i + 1] = { settled + i, decision, entry[2] }
  end

  if #entries < due then return { 'GAP', settled + #entries + 1 } end

  if not again and #outbox > 0 then
    for slot, counters in pairs(slots) do write_places(office, slot, counters) end
    redis.call('RPUSH', key('outbox', office), unpack(outbox))
  end
  return answer
end

local answers = {}
for i = 3, #ARGV, 2 do answers[#answers + 1] = decide(ARGV[i], ARGV[i + 1]) end
return answers
