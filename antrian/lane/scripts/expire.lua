#!lua flags=allow-oom
-- Removes from one of the 4,096 buckets: requests whose time to be remembered is over, bars that have ended, the people
-- whom accounts asked for in past windows, and what limits need not know any more.
-- include: people
-- ARGV: bucket (0 to 4095). Returns: how many entries it removed. Holds: P12 (memory is bounded).
local now, gone, name = now_ms(), 0, string.format(':%03x', ARGV[1])
local function drop(kind, over)
  local entries = redis.call('HGETALL', kind .. name)
  for i = 1, #entries, 2 do
    if over(entries[i + 1]) then gone = gone + redis.call('HDEL', kind .. name, entries[i]) end
  end
end
drop('requests', function(known) return now >= 3600000 * tonumber(known:match('(%d+)$')) end)
drop('applicants', function(entry) return entry:sub(1, 1) == 'X' and now >= barred_until(entry) end)
drop('limits', function(at) return now >= tonumber(at) end)
drop('tried', function(tried) return now >= 3600000 * tonumber(tried:match('^%d+')) end)
return gone
