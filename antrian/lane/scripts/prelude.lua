-- Put before every script, together with lane.lua: the name of every key, and the service's clock.
-- The keys of an office share the tag {office}. People, requests and accounts lie in 4,096 small hashes each, which Redis
-- packs as long as they hold fewer than 512 entries.
--   lane:{office}      hash    open (1; 0: quarantined), epoch, token (newest issued), lease (when it ends, us of Redis's own
--                              time), ticket (last issued), settled (last settled), outbox (decided and not settled: one
--                              line each for settled + 1, + 2 ...: "CONFIRMED 17", "SLOT_FULL", "TOO_LATE", "DAY_CLOSED"),
--                              inventory (version of its counters); of its commands: command (last issued),
--                              leased_command (last handed to a consumer), settled_command (last settled)
--   queue:{office}     stream  accepted requests, id = ticket-0: r the request as codec.py packs it, and behind that when it
--                              was accepted (a blank, ms in 13 digits)
--   commands:{office}  stream  commands, id = number-0: d its kind, " ", the rest (JSON)
--   counters:{office}  hash    slot -> "quota remaining next begins(ms) closed(0 or 1)"
--   ready              zset    office -> since when it waits (us)
--   applicants:xxx     hash    applicant key -> "B" or "V" (by a request that verified the person), booking id, owner | "X",
--                              then 41 bytes a bar: id of the missed booking, " ", end of the bar (ms in 13 digits), " ",
--                              last day
--   requests:xxx       hash    booking id -> "fingerprint office ticket keep-until(hours)"
--   accounts:xxx       hash    owner (caller and account, hashed) -> 17 bytes a live booking: id, how many people hold it
--   tried:xxx          hash    owner -> end of the window (hours), a blank, and 4 bytes of the key of each person asked for
--   limits:xxx         hash    "a" (account), "d" (device) or "p" (address prefix) and its hash -> until when its requests so far
--                              would last at its limit's rate (ms)
--   synced             zset    "day" -> when the latest change of bars that Redis knows was made: a day done, a bar lifted (ms)
--   audit              string  exists while a supervisor of workers audits
--   rebuild            string  number of the newest rebuild: no other may restore anything
--   restored           string  exists once Redis knows all that the ledger knows of people: no lane opens before
--   time               string  latest real time at which a batch was decided (ms)
--   clock              string  ms that the service's time is ahead of real time (embedded stores only)
local function key(kind, office) return kind .. ':{' .. office .. '}' end

local format = string.format -- with %d, a third of what Lua needs to convert a number by itself

local function bucket(kind, id)
  local high, low = id:byte(1, 2)
  return format('%s:%03x', kind, high * 16 + (low - low % 16) / 16)
end

local function real_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Returns the service's time, and the real time that it is based on (ms). After a failover this is another machine's clock.
-- If that is behind, the time stands still instead of going back, so that a window that has closed does not open again. If it
-- is behind by more than this, one of the two clocks is wrong, and waiting could stop the service's time for as long.
local MOST_BEHIND_MS = 10000
local function service_time(us)
  local real, read = math.floor((us or real_us()) / 1000), redis.call('MGET', 'time', 'clock')
  local latest = tonumber(read[1]) or 0
  if latest > real and latest - real < MOST_BEHIND_MS then real = latest end
  return real + (tonumber(read[2]) or 0), real
end

local function now_ms()
  local now = service_time()
  return now
end
