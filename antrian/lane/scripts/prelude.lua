-- Put before every script: the name of every key, the service's clock, and what several scripts read alike.
-- An office's keys share the tag {office}; people, requests and accounts lie in 4,096 small hashes each, which Redis
-- packs as long as they hold fewer than 512 entries.
--   lane:{office}    hash    open (1; 0: shut), epoch, token (newest issued), lease (until when its drainer has it: us of
--                            Redis's own time), ticket (last issued), settled (last settled), outbox (decided, not yet
--                            settled: a line each for settled + 1, + 2 ...: "CONFIRMED 17", "SLOT_FULL", "TOO_LATE",
--                            "DAY_CLOSED"), inventory (mark of the slots that have counters); of its command: command (last
--                            issued), leased_command (last handed to a consumer), settled_command (last settled)
--   queue:{office}    stream  the accepted requests, id = ticket-0: r the request as codec.py packs it, and behind that
--                            when it was accepted (a blank, ms in 13 digits)
--   commands:{office}    stream  what is asked of the office's places and people, id = number-0: d its kind, " ", the rest (JSON)
--   counters:{office}  hash    slot -> "quota remaining next begins(ms) closed(0 or 1)"
--   ready            zset    office -> since when it waits (us)
--   applicants:xxx   hash    applicant key -> "B" booking id, owner | "X", then 41 bytes a bar: id of the booking that was
--                            missed, " ", end of the bar (ms in 13 digits), " ", last day
--   requests:xxx     hash    booking id -> "fingerprint office ticket keep-until(hours)"
--   accounts:xxx     hash    owner (caller and account, hashed) -> 17 bytes a live booking: id, how many people hold it
--   tried:xxx        hash    owner -> end of the window (hours), a blank, and 4 bytes of the key of each person asked for
--   synced             zset    day -> the latest change of bars that was synced to Redis: when a day was done, or one lifted (ms)
--   audit            string  there while a supervisor of workers audits
--   rebuild          string  number of the newest rebuild: no other may put anything back
--   restored            string  there once Redis has all that the ledger knows of people: no lane opens before
--   clock            string  ms that the service's time is ahead of real time (embedded stores only)
local function key(kind, office) return kind .. ':{' .. office .. '}' end

local format = string.format -- with %d, a third of what Lua takes to make a text of a number by itself

local function bucket(kind, id)
  local high, low = id:byte(1, 2)
  return format('%s:%03x', kind, high * 16 + (low - low % 16) / 16)
end

local function real_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function now_ms(us)
  return math.floor((us or real_us()) / 1000) + (tonumber(redis.call('GET', 'clock')) or 0)
end

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

-- Of a request as codec.py packs it: how many people, slot, booking id, fingerprint, the people's keys.
local function party_of(request) return request:byte(1) end
local function slot_of(request) return request:sub(2, 12) end
local function id_of(request) return request:sub(13, 28) end
local function fingerprint_of(request) return request:sub(29, 36) end
local function people_of(request) return request:sub(39, 38 + 16 * party_of(request)) end

-- Of an entry of a line: its ticket, and what join.lua wrote.
local function ticket_of(entry) return tonumber(entry[1]:match('^%d+')) end
local function request_of(entry) return entry[2][2] end
local function accepted_at(request) return tonumber(request:sub(-13)) end

-- What a lane's hash says; token and inventory are texts, open is "1" or "0", or nothing where Redis has never seen the lane.
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

-- Whether a newer token was issued for the lane (P1, P3: a late drainer is shut out); newest: the lane's, where it was read.
local function fenced(office, token, newest)
  return (newest or redis.call('HGET', key('lane', office), 'token')) ~= token
end

-- Whether a newer rebuild has begun, or Redis was emptied since this one did.
local function superseded(rebuild) return redis.call('GET', 'rebuild') ~= rebuild end

-- Marks a lane ready. While it is leased that is for nothing: its drainer marks it when it gives the lease back.
local function mark_ready(office) redis.call('ZADD', 'ready', 'NX', real_us(), office) end

-- Gives a lease back and writes the fields that have changed; the lane stays ready while there is more to do.
local function give_back(office, lane, ...)
  redis.call('HSET', key('lane', office), 'lease', 0, ...)
  if lane.ticket ~= lane.settled or lane.command ~= lane.settled_command then redis.call('ZADD', 'ready', real_us(), office) end
end
