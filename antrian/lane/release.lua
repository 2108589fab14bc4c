#!lua flags=allow-oom
-- Makes people's entries follow the ledger after their day: who came is free, who did not is barred. Safe to repeat.
-- ARGV: end of the bar (ms; 0: no bar), its last day (or ""), then 2 a booking (id, keys of its people).
-- Answers: nothing. Holds: P4, P10.
local ends = tonumber(ARGV[1])
for i = 3, #ARGV, 2 do
  free(ARGV[i], ARGV[i + 1])
  for n = 1, ends > 0 and #ARGV[i + 1] or 0, 16 do
    local person = ARGV[i + 1]:sub(n, n + 15)
    local entry = redis.call('HGET', bucket('applicants', person), person)
    if not entry or tonumber(entry:match('^X(%d+) ') or ends) < ends then
      redis.call('HSET', bucket('applicants', person), person, string.format('X%d %s', ends, ARGV[2]))
    end
  end
end
