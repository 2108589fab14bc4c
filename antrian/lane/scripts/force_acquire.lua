#!lua flags=allow-oom
-- Closes a lane for a rebuild and takes it from its consumer: nobody can join it, and no other consumer can lease or keep it.
-- ARGV: office. Returns: token, known (0 if Redis has lost the lane), now (ms). Holds: P3, P9.
local lane = key('lane', ARGV[1])
local known = redis.call('HEXISTS', lane, 'ticket')
local token = redis.call('HINCRBY', lane, 'token', 1)
redis.call('HSET', lane, 'open', 0, 'lease', 0)
redis.call('ZREM', 'ready', ARGV[1])
return { token, known, now_ms() }
