#!lua flags=no-writes
-- The counters of slots at offices. ARGV: how many slots, the slots, then the offices.
-- Answers: now (ms), then an array an office: open (1 or 0), then "quota left next begins closed" a slot, or nil where it has
-- no counters. Holds: P8.
local slots, answer = tonumber(ARGV[1]), { now_ms() }
for i = slots + 2, #ARGV do
  local office = ARGV[i]
  local counters = { tonumber(redis.call('HGET', key('lane', office), 'open') or 0) }
  for n = 2, slots + 1 do counters[n] = redis.call('HGET', key('places', office), ARGV[n]) end
  answer[#answer + 1] = counters
end
return answer
