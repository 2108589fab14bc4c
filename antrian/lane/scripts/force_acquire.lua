#!lua flags=allow-oom
-- Closes a lane and takes it from whoever has it, to be rebuilt: nobody joins, no other drainer gets or keeps it.
-- ARGV: office. Returns: token, known (0 when Redis has lost the lane), now (ms). Holds: P3, P9.
local lane = key('lane', ARGV[1])
local known = redis.call('HEXISTS', lane, 'ticket')
local token = redis.call('HINCRBY', lane, 'token', 1)
redis.call('HSET', lane, 'open', 0, 'lease', 0)
redis.call('ZREM', 'ready', ARGV[1])
return { token, known, now_ms() }
