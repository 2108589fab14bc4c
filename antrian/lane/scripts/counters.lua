#!lua flags=no-writes
-- The counters of slots at offices. ARGV: how many slots, the slots, then the offices.
-- Returns: now (ms), then an array an office: open (1 or 0), then "quota remaining next begins closed" a slot, or nil where it has
-- no counters. Holds: P8.
local slots, reply = tonumber(ARGV[1]), { now_ms() }
for i = slots + 2, #ARGV do
  local office = ARGV[i]
  local open = tonumber(redis.call('HGET', key('lane', office), 'open') or 0)
  reply[#reply + 1] = { open, unpack(redis.call('HMGET', key('counters', office), unpack(ARGV, 2, slots + 1))) }
end
return reply
