#!lua flags=allow-oom
-- Makes the entries of people follow the ledger after their day: frees them, or bars them for a no-show. Safe to repeat.
-- include: people
-- ARGV: office, its last settled command as read before the ledger was, end of the bar (ms; 0: no bar), its last day (or ""),
--   then 2 a booking (id, keys of its people).
-- Returns: 1; or 0 if it did nothing: a command was executed since, so that the ledger may have changed, or Redis must be
--   rebuilt. Holds: P4, P10.
local lane, ends = read_lane(ARGV[1]), tonumber(ARGV[3])
if lane.settled_command ~= tonumber(ARGV[2]) or lane.leased_command > lane.settled_command or redis.call('EXISTS', 'restored') == 0 then return 0 end
for i = 5, #ARGV, 2 do
  local id, people = ARGV[i], ARGV[i + 1]
  free(id, people)
  for n = 1, ends > 0 and #people or 0, 16 do bar(id, people:sub(n, n + 15), ends, ARGV[4]) end
end
return 1
