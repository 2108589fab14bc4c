#!lua flags=no-writes
-- A booking while it is in its lane. ARGV: booking id (16 bytes).
-- Answers: now (ms), then, while its ticket is above settled: office, ticket, requests ahead, places left in the slot
-- (-1 when not known), the line entry's fields. Nothing after now: ask the ledger. Holds: P8.
local now = now_ms()
local known = redis.call('HGET', bucket('requests', ARGV[1]), ARGV[1])
if not known then return { now } end
local office, ticket = known:match('^%S+ (%S+) (%d+)')
local settled = tonumber(redis.call('HGET', key('lane', office), 'settled') or -1)
if settled < 0 or tonumber(ticket) <= settled then return { now } end
local entry = redis.call('XRANGE', key('line', office), ticket .. '-0', ticket .. '-0')[1]
if not entry then return { now } end
local counters = places_of(office, fields(entry).s)
return { now, office, tonumber(ticket), ticket - settled - 1, counters and counters.left or -1, entry[2] }
