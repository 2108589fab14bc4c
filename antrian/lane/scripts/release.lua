#!lua flags=allow-oom
-- Makes people's entries follow the ledger after their day: who came is free, who did not is barred. Safe to repeat.
-- include: people
-- ARGV: office, number at its command that was settled last before the ledger was asked, end of the bar (ms; 0: no bar), its
--   last day (or ""), then 2 a booking (id, keys of its people).
-- Returns: 1; or 0, and nothing was done: the command was or is being served since, so the ledger may say something else by
--   now, or Redis is to be rebuilt. Holds: P4, P10.
local lane, ends = read_lane(ARGV[1]), tonumber(ARGV[3])
if lane.settled_command ~= tonumber(ARGV[2]) or lane.leased_command > lane.settled_command or redis.call('EXISTS', 'restored') == 0 then return 0 end
for i = 5, #ARGV, 2 do
  local id, people = ARGV[i], ARGV[i + 1]
  free(id, people)
  for n = 1, ends > 0 and #people or 0, 16 do bar(id, people:sub(n, n + 15), ends, ARGV[4]) end
end
return 1
