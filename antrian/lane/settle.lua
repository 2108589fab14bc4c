#!lua flags=allow-oom
-- Makes the lane follow the ledger after a turn was recorded, and gives the lease back. Safe to repeat.
-- ARGV: office, token, the ledger's verdicts on the outbox, one letter a ticket: K (the places are taken), R (rejected:
--   places back, applicants free), D (the booking stands at another ticket: places back, applicants stay).
-- Answers: FENCED | STALE (the outbox is not that turn's; it was settled before) | MISSING slot | SETTLED last-ticket.
-- Publishes "office last-ticket" on the channel settled.
-- Holds: P1, P2, P4, P10 (given back once), P15.
local office, token, verdicts = ARGV[1], ARGV[2], ARGV[3]
if fenced(office, token) then return { 'FENCED' } end
local settled = redis.call('HGET', key('lane', office), 'settled')
local outbox = redis.call('LRANGE', key('outbox', office), 0, -1)
if #outbox ~= #verdicts then return { 'STALE' } end
local last = settled + #outbox

if #outbox > 0 then
  local entries, slots = redis.call('XRANGE', key('line', office), '-', string.format('%d-0', last)), {}
  for i, entry in ipairs(entries) do
    local request = fields(entry)
    if verdicts:sub(i, i) ~= 'K' and outbox[i]:sub(1, 9) == 'CONFIRMED' then
      slots[request.s] = slots[request.s] or places_of(office, request.s)
      if not slots[request.s] then return { 'MISSING', request.s } end
      slots[request.s].left = slots[request.s].left + #request.k / 16
    end
  end
  for slot, counters in pairs(slots) do write_places(office, slot, counters) end
  for i, entry in ipairs(entries) do
    local request = fields(entry)
    if verdicts:sub(i, i) == 'R' then free(request.b, request.k) end
  end
  redis.call('LTRIM', key('outbox', office), #outbox, -1)
  redis.call('XTRIM', key('line', office), 'MINID', string.format('%d-0', last + 1))
  redis.call('HSET', key('lane', office), 'settled', last)
  redis.call('PUBLISH', 'settled', office .. ' ' .. last)
end
give_back(office)
return { 'SETTLED', last }
