#!lua flags=allow-oom
-- Takes the lane that has been ready for longest, or the given one, and leases it.
-- ARGV: lease time (ms), office (or "").
-- Answers: office, token, known (0 when Redis has never seen the lane), the mark of its stock (or ""), now (ms); or
-- nothing when no lane is to be had. A closed lane is not: it waits for its rebuild.
-- A lane under a live lease only loses its mark: its holder marks it again in settle.lua while there is more to do.
-- Holds: P3 (one drainer a lane, each with a newer token), P13.
while true do
  local office = ARGV[2]
  if office == '' then office = redis.call('ZRANGE', 'ready', 0, 0)[1] end
  if not office then return nil end
  redis.call('ZREM', 'ready', office)
  local lane = redis.call('HMGET', key('lane', office), 'open', 'stocked')
  if lane[1] ~= '0' and redis.call('EXISTS', key('lease', office)) == 0 then
    local token = redis.call('HINCRBY', key('lane', office), 'token', 1)
    redis.call('SET', key('lease', office), token, 'PX', ARGV[1])
    return { office, token, lane[1] and 1 or 0, lane[2] or '', now_ms() }
  end
  if ARGV[2] ~= '' then return nil end
end
