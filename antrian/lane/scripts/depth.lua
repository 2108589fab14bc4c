#!lua flags=no-writes
-- Reads how many tickets wait in the lanes, and since when. ARGV: offices.
-- Returns: now (ms), then two numbers an office: tickets that are not settled, and when the oldest of those in the queue was
-- accepted (ms; 0: none). Holds: P15, P16.
local reply = { now_ms() }
for i, office in ipairs(ARGV) do
  local lane = redis.call('HMGET', key('lane', office), 'ticket', 'settled')
  local ticket, settled = tonumber(lane[1] or 0), tonumber(lane[2] or 0)
  local oldest = redis.call('XRANGE', key('queue', office), string.format('%d-0', settled + 1), '+', 'COUNT', 1)[1]
  reply[2 * i] = ticket - settled
  reply[2 * i + 1] = oldest and accepted_at(request_of(oldest)) or 0
end
return reply
