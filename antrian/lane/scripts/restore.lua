#!lua flags=allow-oom
-- Restores what the ledger knows of people and requests, while every lane is closed. Safe to repeat.
-- include: people
-- ARGV: number of the rebuild, how many bookings, then 5 a booking: id, fingerprint ("": the request need not be remembered),
--   "office ticket keep(hours)", owner, the people who hold it (key, "B" or "V" as applicants:xxx has it); then 4 a bar: id of the missed
--   booking, applicant key, its end (ms), its last day.
-- Returns: FENCED | RESTORED. Holds: P4, P5, P9.
if superseded(ARGV[1]) then return { 'FENCED' } end
local bookings = tonumber(ARGV[2])
for i = 3, 2 + bookings * 5, 5 do
  local id, fingerprint, where, owner, people = unpack(ARGV, i, i + 4)
  if fingerprint ~= '' then redis.call('HSET', bucket('requests', id), id, fingerprint .. ' ' .. where) end
  for n = 1, #people, 17 do
    local person = people:sub(n, n + 15)
    local entry = people:sub(n + 16, n + 16) .. id .. owner
    if redis.call('HGET', bucket('applicants', person), person) ~= entry then
      redis.call('HSET', bucket('applicants', person), person, entry)
      count_live(owner, held_by(owner), id, 1)
    end
  end
end
for i = 3 + bookings * 5, #ARGV, 4 do bar(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
return { 'RESTORED' }
