#!lua flags=allow-oom
-- Decides the next tickets of a lane in arrival order and puts the decisions into the outbox. An outbox that is not
-- settled is handed out again instead: same tickets, same decisions.
-- ARGV: office, token, most tickets.
-- Answers: FENCED | GAP ticket (the line lacks it) | MISSING slot (no counters) |
--   DECIDED, then one array a ticket: ticket, decision ("CONFIRMED first-number", "SLOT_FULL", "TOO_LATE"), and the
--   line entry's fields as Redis has them (name, value, name, value ...).
-- Holds: P1, P2, P3, P6.
local office, token, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
if fenced(office, token) then return { 'FENCED' } end
local settled = tonumber(redis.call('HGET', key('lane', office), 'settled'))
local outbox = redis.call('LRANGE', key('outbox', office), 0, -1)
local again = #outbox > 0
local entries = redis.call('XRANGE', key('line', office), string.format('%d-0', settled + 1), '+',
  'COUNT', again and #outbox or most)
if again and #entries < #outbox then return { 'GAP', settled + #entries + 1 } end

local now, slots = now_ms(), {}
local answer = { 'DECIDED' }
for i, entry in ipairs(entries) do
  local request, decision = fields(entry), outbox[i]
  if ticket_of(entry) ~= settled + i then return { 'GAP', settled + i } end
  if not again then
    local counters = slots[request.s] or places_of(office, request.s)
    if not counters then return { 'MISSING', request.s } end
    slots[request.s] = counters
    local party = #request.k / 16
    if now >= counters.begins then
      decision = 'TOO_LATE'
    elseif counters.left < party then
      decision = 'SLOT_FULL'
    else
      decision = string.format('CONFIRMED %d', counters.next)
      counters.left, counters.next = counters.left - party, counters.next + party
    end
    outbox[i] = decision
  end
  answer[i + 1] = { settled + i, decision, entry[2] }
end

if not again then
  for slot, counters in pairs(slots) do write_places(office, slot, counters) end
  for _, decision in ipairs(outbox) do redis.call('RPUSH', key('outbox', office), decision) end
end
return answer
