#!lua flags=no-writes
-- Reads the state of a lane at one moment. ARGV: office.
-- Returns: open ("1", "0", "" if Redis does not know it), epoch, ticket, settled, entries of the queue, decisions in the outbox,
-- last settled command, entries of the commands, then "slot quota remaining next begins closed" a slot. Holds: P16.
local office = ARGV[1]
local lane = redis.call('HMGET', key('lane', office), 'open', 'epoch', 'ticket', 'settled', 'settled_command', 'outbox')
local reply = {
  lane[1] or '', tonumber(lane[2] or 0), tonumber(lane[3] or 0), tonumber(lane[4] or 0),
  redis.call('XLEN', key('queue', office)), #decisions_of(lane[6] or ''),
  tonumber(lane[5] or 0), redis.call('XLEN', key('commands', office)),
}
local places = redis.call('HGETALL', key('counters', office))
for i = 1, #places, 2 do reply[#reply + 1] = places[i] .. ' ' .. places[i + 1] end
return reply
