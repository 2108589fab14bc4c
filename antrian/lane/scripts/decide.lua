#!lua flags=allow-oom
-- Decides the next tickets of lanes that the caller has leased.
-- include: decisions
-- ARGV: most tickets a lane, most commands a lane, then office and token of each lane.
-- Returns one array a lane as describe() has it, with FENCED or what decide() returns.
local max_tickets, max_commands = tonumber(ARGV[1]), tonumber(ARGV[2])

local replies = {}
for i = 3, #ARGV, 2 do
  local office, token = ARGV[i], ARGV[i + 1]
  local lane = read_lane(office)
  local decided = fenced(office, token, lane.token) and { 'FENCED' } or decide(office, lane, max_tickets, max_commands)
  lane.token = token
  replies[#replies + 1] = describe(office, lane, decided)
end
return replies
