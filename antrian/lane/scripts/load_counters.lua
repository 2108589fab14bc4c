#!lua flags=allow-oom
-- Gives a lane counters for the slots that lack them, and removes those of slots whose day is long over.
-- ARGV: office, token, inventory version, remove slots that began before (ms), then 6 a slot: slot, quota, remaining,
--   next number, begins (ms), closed (0 or 1).
-- Returns: FENCED | LOADED. Existing counters stay: they include decisions that the ledger does not have yet.
-- Holds: P1.
local office, token, before = ARGV[1], ARGV[2], tonumber(ARGV[4])
if fenced(office, token) then return { 'FENCED' } end
local places = key('counters', office)
for _, slot in ipairs(redis.call('HKEYS', places)) do
  if counters_of_slot(office, slot).begins < before then redis.call('HDEL', places, slot) end
end
for i = 5, #ARGV, 6 do
  redis.call('HSETNX', places, ARGV[i], table.concat(ARGV, ' ', i + 1, i + 5))
end
redis.call('HSET', key('lane', office), 'inventory', ARGV[3])
return { 'LOADED' }
