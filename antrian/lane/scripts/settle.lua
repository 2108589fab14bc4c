#!lua flags=allow-oom
-- Makes lanes follow the ledger after their turns were recorded, and gives the leases back. Safe to repeat.
-- include: people
-- ARGV, of each lane: office, token, the ledger's results on the outbox, one letter a ticket: K (the places are taken), R
--   (rejected: places back, applicants free), D (the booking stands at another ticket: places back, applicants stay).
-- Returns: one array a lane: FENCED | STALE (the outbox is not that turn's; it was settled before) | MISSING slot |
--   SETTLED last-ticket. Publishes "office last-ticket" of all lanes, with a blank between, on the channel settled.
-- Holds: P1, P2, P4, P10 (given back once), P15.
local synced = {}

local function follow(office, last, outbox, results)
  local entries, slots = redis.call('XRANGE', key('queue', office), '-', last .. '-0'), {}
  for i, entry in ipairs(entries) do
    local request = request_of(entry)
    local slot = slot_of(request)
    if results:sub(i, i) ~= 'K' and outbox[i]:sub(1, 9) == 'CONFIRMED' then
      slots[slot] = slots[slot] or counters_of_slot(office, slot)
      if not slots[slot] then return { 'MISSING', slot } end
      slots[slot].remaining = slots[slot].remaining + party_of(request)
    end
  end
  for slot, counters in pairs(slots) do write_counters(office, slot, counters) end
  for i, entry in ipairs(entries) do
    local request = request_of(entry)
    if results:sub(i, i) == 'R' then free(id_of(request), people_of(request)) end
  end
end

local function settle(office, token, results)
  local lane = read_lane(office)
  if fenced(office, token, lane.token) then return { 'FENCED' } end
  local outbox = decisions_of(lane.outbox)
  if not lane.open or #outbox ~= #results then return { 'STALE' } end
  local last = lane.settled + #results

  if #results > 0 then
    local problem = results:find('[^K]') and follow(office, last, outbox, results)
    if problem then return problem end
    redis.call('XTRIM', key('queue', office), 'MINID', last + 1 .. '-0')
    synced[#synced + 1] = office .. ' ' .. last
    lane.settled = last
  end
  give_back(office, lane, 'settled', last, 'outbox', '')
  return { 'SETTLED', last }
end

local replies = {}
for i = 1, #ARGV, 3 do replies[#replies + 1] = settle(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
if #synced > 0 then redis.call('PUBLISH', 'settled', table.concat(synced, ' ')) end
return replies
