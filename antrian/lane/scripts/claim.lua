#!lua flags=allow-oom
-- Holds people again for bookings whose check-in is to be undone, before the ledger records it: all people of a booking or
-- none. Safe to repeat. settle_commands.lua frees those whose check-in the ledger does not undo.
-- include: people
-- ARGV: office, token, then 4 a booking (id, owner, keys of its people, and "B" or "V" for each as applicants:xxx has it).
-- Returns: FENCED | CLAIMED, then one number a booking: 0, or which of its people (1, 2 ...) is barred or held by another
-- booking. Holds: P4 (a request in the queue keeps its people).
if fenced(ARGV[1], ARGV[2]) then return { 'FENCED' } end
local now, reply = now_ms(), { 'CLAIMED' }
for i = 3, #ARGV, 4 do
  local id, owner, people, kinds = unpack(ARGV, i, i + 3)
  local taken, lost = 0, {}
  for n = 1, #kinds do
    local person = people:sub(n * 16 - 15, n * 16)
    local claim = kinds:sub(n, n) .. id .. owner
    local entry = redis.call('HGET', bucket('applicants', person), person)
    if not entry or entry:sub(1, 1) == 'X' and now >= barred_until(entry) then
      lost[#lost + 1] = { person, claim }
    elseif entry ~= claim and taken == 0 then
      taken = n
    end
  end
  reply[#reply + 1] = taken
  for _, again in ipairs(taken == 0 and lost or {}) do
    redis.call('HSET', bucket('applicants', again[1]), again[1], again[2])
    count_live(owner, held_by(owner), id, 1)
  end
end
return reply
