#!lua flags=no-writes
-- Reads the live bookings of an account: queued or confirmed. ARGV: owner. Returns: their ids (16 bytes each).
local entries, ids = redis.call('HGET', bucket('accounts', ARGV[1]), ARGV[1]) or '', {}
for n = 1, #entries, 17 do ids[#ids + 1] = entries:sub(n, n + 15) end
return ids
