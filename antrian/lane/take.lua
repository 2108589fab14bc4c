#!lua flags=allow-oom
-- Takes the lanes that have been ready for longest, or the given one, and leases them.
-- ARGV: lease time (ms), office (or ""), most lanes, most tickets (no further lane once those taken have so many waiting).
-- Answers: one array a lane: office, token, known (0 when Redis has never seen the lane), the mark of its stock (or ""),
-- now (ms). A closed lane is not to be had: it waits for its rebuild.
-- A lane under a live lease only loses its mark: its holder marks it again in settle.lua while there is more to do.
-- Holds: P3 (one drainer a lane, each with a newer token), P13.
local most_lanes, most_tickets = tonumber(ARGV[3]), tonumber(ARGV[4])
local leases, waiting = {}, 0
while #leases < most_lanes and waiting < most_tickets do
  local office = ARGV[2]
  if office == '' then office = redis.call('ZRANGE', 'ready', 0, 0)[1] end
  if not office then break end
  redis.call('ZREM', 'ready', office)
  local lane = redis.call('HMGET', key('lane', office), 'open', 'stocked', 'ticket', 'settled')
  if lane[1] ~= '0' and redis.call('EXISTS', key('lease', office)) == 0 then
    local token = redis.call('HINCRBY', key('lane', office), 'token', 1)
    redis.call('SET', key('lease', office), token, 'PX', ARGV[1])
    leases[#leases + 1] = { office, token, lane[1] and 1 or 0, lane[2] or '', now_ms() }
    waiting = waiting + (lane[3] or 0) - (lane[4] or 0)
  end
  if ARGV[2] ~= '' then break end
end
return leases
