-- Who holds or bars a person, and how many people hold an account's bookings. Included by join.lua, claim.lua, release.lua,
-- restore.lua, settle.lua, settle_commands.lua and expire.lua. prelude.lua has the layout of applicants:xxx and accounts:xxx.
-- Holds: P4, P10.

-- Returns an account's entry in accounts:xxx, or '' when it has no live booking.
local function held_by(owner) return redis.call('HGET', bucket('accounts', owner), owner) or '' end

-- Returns how many people hold the bookings of an account's entry.
local function live_of(held)
  local live = 0
  for n = 17, #held, 17 do live = live + held:byte(n) end
  return live
end

-- Adds change to the number of people who hold one booking of an account, given the account's entry. A booking that nobody
-- holds any more leaves the entry.
local function count_live(owner, held, id, change)
  local after = ''
  for n = 1, #held, 17 do
    local booking, people = held:sub(n, n + 15), held:byte(n + 16)
    if booking == id then people, change = people + change, 0 end
    if people > 0 then after = after .. booking .. string.char(people) end
  end
  if change > 0 then after = after .. id .. string.char(change) end
  if after == '' then
    redis.call('HDEL', bucket('accounts', owner), owner)
  elseif after ~= held then
    redis.call('HSET', bucket('accounts', owner), owner, after)
  end
end

-- Returns the booking and the account that hold a person, and whether the person was verified, given the person's entry (or
-- false); nil when no booking holds the person.
local function holder_of(entry)
  local kind = entry and entry:sub(1, 1)
  if kind == 'B' or kind == 'V' then return entry:sub(2, 17), entry:sub(18), kind == 'V' end
end

-- Returns the end of an applicant's latest bar (ms) and its last day; 0 and '' when the applicant's entry has no bar.
local function barred_until(entry)
  local ends, last_day = 0, ''
  for n = 2, entry:sub(1, 1) == 'X' and #entry or 0, 41 do
    local until_ms = tonumber(entry:sub(n + 17, n + 29))
    if until_ms > ends then ends, last_day = until_ms, entry:sub(n + 31, n + 40) end
  end
  return ends, last_day
end

-- Returns an applicant's entry without the bar from one booking; just "X" when it was the only bar.
local function without_bar(entry, id)
  local kept = 'X'
  for n = 2, #entry, 41 do
    if entry:sub(n, n + 15) ~= id then kept = kept .. entry:sub(n, n + 40) end
  end
  return kept
end

-- Bars a person for a missed booking, unless another booking holds the person. Safe to repeat.
local function bar(id, person, ends, last_day)
  local entry = redis.call('HGET', bucket('applicants', person), person) or 'X'
  if entry:sub(1, 1) == 'X' then
    entry = without_bar(entry, id) .. id .. format(' %013d %s', ends, last_day)
    redis.call('HSET', bucket('applicants', person), person, entry)
  end
end

-- Frees the people whom this booking still holds, and lifts its bars. Safe to repeat.
local function free(id, people)
  for n = 1, #people, 16 do
    local person = people:sub(n, n + 15)
    local held = redis.call('HGET', bucket('applicants', person), person)
    local holder, owner = holder_of(held)
    if holder == id then
      redis.call('HDEL', bucket('applicants', person), person)
      count_live(owner, held_by(owner), id, -1)
    elseif held and not holder then
      local kept = without_bar(held, id)
      if kept == 'X' then
        redis.call('HDEL', bucket('applicants', person), person)
      elseif kept ~= held then
        redis.call('HSET', bucket('applicants', person), person, kept)
      end
    end
  end
end
