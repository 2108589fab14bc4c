-- Put before every script: the name of every key, the service's clock, and what several scripts read alike.
-- An office's keys share the tag {office}; people, requests and accounts lie in 4,096 small hashes each, which Redis
-- packs as long as they hold fewer than 512 entries.
--   lane:{office}    hash    open (1; 0: shut), epoch, token (newest issued), ticket (last issued), settled (last
--                            settled), stocked (mark of the slots that have counters)
--   line:{office}    stream  the accepted requests, id = ticket-0: b booking id, s slot, k applicant keys, c caller,
--                            o account, t accepted at (ms), x sealed people
--   outbox:{office}  list    decided, not yet settled: "CONFIRMED 17", "SLOT_FULL", "TOO_LATE", for settled + 1, + 2 ...
--   lease:{office}   string  the token that may drain, until it expires
--   places:{office}  hash    slot -> "quota left next begins(ms)"
--   desk:{office}    stream  cancels and quota changes (next)
--   ready            zset    office -> since when it waits (us)
--   applicants:xxx   hash    applicant key -> "B" booking id, owner | "X" end of the bar (ms) " " last day
--   requests:xxx     hash    booking id -> "fingerprint office ticket keep-until(s)"
--   accounts:xxx     hash    owner (caller and account, hashed) -> people with live bookings
--   clock            string  ms that the service's time is ahead of real time (embedded stores only)
local function key(kind, office) return kind .. ':{' .. office .. '}' end

local function bucket(kind, id)
  local high, low = id:byte(1, 2)
  return string.format('%s:%03x', kind, high * 16 + math.floor(low / 16))
end

local function real_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function now_ms()
  return math.floor(real_us() / 1000) + (tonumber(redis.call('GET', 'clock')) or 0)
end

-- A slot's counters, or nil: a missing counter never means "full".
local function places_of(office, slot)
  local text = redis.call('HGET', key('places', office), slot)
  if not text then return nil end
  local quota, left, next_number, begins = text:match('^(%d+) (%d+) (%d+) (%d+)$')
  return { quota = tonumber(quota), left = tonumber(left), next = tonumber(next_number), begins = tonumber(begins) }
end

local function write_places(office, slot, p)
  redis.call('HSET', key('places', office), slot, string.format('%d %d %d %d', p.quota, p.left, p.next, p.begins))
end

-- The fields of a stream entry as a table.
local function fields(entry)
  local named = {}
  for i = 1, #entry[2], 2 do named[entry[2][i]] = entry[2][i + 1] end
  return named
end

local function ticket_of(entry) return tonumber(entry[1]:match('^%d+')) end

-- Whether the token is the newest that was issued for the lane (P1, P3: a late drainer is shut out).
local function fenced(office, token) return redis.call('HGET', key('lane', office), 'token') ~= token end
