-- Put before every script, after prelude.lua: how lanes, counters and packed requests are read and written.

-- A slot's counters, or nil: a missing counter never means "full".
local function counters_of_slot(office, slot)
  local text = redis.call('HGET', key('counters', office), slot)
  if not text then return nil end
  local quota, remaining, next_number, begins, closed = text:match('^(%d+) (%d+) (%d+) (%d+) ([01])$')
  return {
    quota = tonumber(quota), remaining = tonumber(remaining), next = tonumber(next_number), begins = tonumber(begins),
    closed = closed == '1',
  }
end

local function write_counters(office, slot, p)
  redis.call('HSET', key('counters', office), slot,
    string.format('%d %d %d %d %d', p.quota, p.remaining, p.next, p.begins, p.closed and 1 or 0))
end

-- Of a request as codec.py packs it: how many people, slot, booking id, fingerprint, the people's keys, and "B" or "V" for
-- each of them, as applicants:xxx has it.
local function party_of(request) return request:byte(1) end
local function slot_of(request) return request:sub(2, 12) end
local function id_of(request) return request:sub(13, 28) end
local function fingerprint_of(request) return request:sub(29, 36) end
local function people_of(request) return request:sub(39, 38 + 16 * party_of(request)) end
local function kinds_of(request) return request:sub(39 + 16 * party_of(request), 38 + 17 * party_of(request)) end

-- Of an entry of a queue: its ticket, and what join.lua wrote.
local function ticket_of(entry) return tonumber(entry[1]:match('^%d+')) end
local function request_of(entry) return entry[2][2] end
local function accepted_at(request) return tonumber(request:sub(-13)) end

-- Reads a lane's hash; token and inventory are texts, open is "1" or "0", or false if Redis has never seen the lane.
local function read_lane(office)
  local read = redis.call('HMGET', key('lane', office),
    'open', 'token', 'ticket', 'settled', 'command', 'leased_command', 'settled_command', 'inventory', 'lease', 'outbox')
  return {
    open = read[1], token = read[2] or '0', ticket = tonumber(read[3] or 0), settled = tonumber(read[4] or 0),
    command = tonumber(read[5] or 0), leased_command = tonumber(read[6] or 0), settled_command = tonumber(read[7] or 0),
    inventory = read[8] or '', lease = tonumber(read[9] or 0), outbox = read[10] or '',
  }
end

-- The decisions of an outbox.
local function decisions_of(outbox)
  local decisions = {}
  for decision in outbox:gmatch('[^\n]+') do decisions[#decisions + 1] = decision end
  return decisions
end

-- Whether a newer token was issued for the lane (P1, P3: a late consumer writes nothing). newest: the lane's, if it was read.
local function fenced(office, token, newest)
  return (newest or redis.call('HGET', key('lane', office), 'token')) ~= token
end

-- Whether a newer rebuild has begun, or Redis was emptied since this one did.
local function superseded(rebuild) return redis.call('GET', 'rebuild') ~= rebuild end

-- Marks a lane ready. While it is leased this has no effect: its consumer marks it again when it gives the lease back.
local function mark_ready(office) redis.call('ZADD', 'ready', 'NX', real_us(), office) end

-- Gives a lease back and writes the fields that have changed; the lane stays ready while there is more to do.
local function give_back(office, lane, ...)
  redis.call('HSET', key('lane', office), 'lease', 0, ...)
  if lane.ticket ~= lane.settled or lane.command ~= lane.settled_command then redis.call('ZADD', 'ready', real_us(), office) end
end
