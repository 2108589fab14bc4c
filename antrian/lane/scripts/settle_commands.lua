#!lua flags=allow-oom
-- Makes the lane follow the ledger after a batch of its commands was recorded, and gives the lease back. Safe to repeat.
-- include: people
-- ARGV: office, token, last command of the batch, when the latest bar of its bookings was lifted (ms; 0: none), how many
--   slots, then 5 a slot as the ledger has it (slot, quota, remaining, next number, closed), then 2 a booking (id, keys of
--   its people who hold it no more and are not barred for it).
-- Returns: FENCED | STALE (it was settled before) | SETTLED number. Publishes "commands:office number" on channel settled.
-- Counters are set, not changed: the outbox is empty, so the ledger has all that was decided. Holds: P1, P4, P10.
local office, token, last, slots = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
if fenced(office, token) then return { 'FENCED' } end
local lane = read_lane(office)
if lane.leased_command ~= last or lane.settled_command == last or lane.outbox ~= '' then return { 'STALE' } end

for i = 6, 5 + slots * 5, 5 do
  local counters = counters_of_slot(office, ARGV[i])
  if counters then
    counters.quota, counters.remaining = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    counters.next, counters.closed = tonumber(ARGV[i + 3]), ARGV[i + 4] == '1'
    write_counters(office, ARGV[i], counters)
  end
end
for i = 6 + slots * 5, #ARGV, 2 do free(ARGV[i], ARGV[i + 1]) end
if ARGV[4] ~= '0' then redis.call('ZADD', 'synced', 'GT', ARGV[4], 'day') end
redis.call('XTRIM', key('commands', office), 'MINID', string.format('%d-0', last + 1))
redis.call('PUBLISH', 'settled', 'commands:' .. office .. ' ' .. last)
lane.settled_command = last
give_back(office, lane, 'settled_command', last)
return { 'SETTLED', last }
