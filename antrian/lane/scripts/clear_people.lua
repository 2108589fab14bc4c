#!lua flags=allow-oom
-- Removes all that Redis knows of people, requests and accounts, while every lane is closed. ARGV: number of the rebuild.
-- Returns: FENCED | CLEARED. Holds: P9.
if superseded(ARGV[1]) then return { 'FENCED' } end
redis.call('DEL', 'restored')
for _, kind in ipairs({ 'applicants', 'requests', 'accounts' }) do
  for n = 0, 4095 do redis.call('UNLINK', string.format('%s:%03x', kind, n)) end
end
return { 'CLEARED' }
