-- Why a request is refused for its window or its people. Included by join.lua, after people.lua.
-- Holds: P4, P5, P11, P12.
local now = now_ms()
local windows_open = {} -- what this call has worked out already

-- Returns when the open one of these windows ("from-to,from-to", ms) ends, or false.
local function in_window(windows)
  if windows_open[windows] == nil then
    windows_open[windows] = false
    for from, to in windows:gmatch('(%d+)-(%d+)') do
      if now >= tonumber(from) and now < tonumber(to) then windows_open[windows] = tonumber(to) end
    end
  end
  return windows_open[windows]
end

-- Returns the entry of each person (false: none), and the refusal of the first whom this account itself has booked.
local function look_up(people, owner)
  local entries, own = {}, nil
  for n = 0, #people / 16 - 1 do
    local person = people:sub(n * 16 + 1, n * 16 + 16)
    local entry = redis.call('HGET', bucket('applicants', person), person)
    entries[n + 1] = entry
    local holder, holding = holder_of(entry)
    if not own and holder and holding == owner then own = { 'ALREADY_BOOKED', n, holder } end
  end
  return entries, own
end

-- Returns the refusal of the first person whom another account has booked, or who is barred; nil if there is none. A booking
-- that did not verify its person gives way to a request that does (kinds: "V"), if nothing else refuses that.
local function refused_for_others(entries, kinds)
  local unverified = { 'HELD_UNVERIFIED' }
  for n, entry in ipairs(entries) do
    local holder, _, verified = holder_of(entry)
    if holder and not verified and kinds:sub(n, n) == 'V' then
      unverified[#unverified + 1], unverified[#unverified + 2] = n - 1, holder
    elseif holder then
      return { 'ALREADY_BOOKED', n - 1, '' }
    elseif entry then
      local ends, last_day = barred_until(entry)
      if now < ends then return { 'BARRED', n - 1, last_day } end
    end
  end
  if #unverified > 1 then return unverified end
end

-- Notes that an account asks for these people in the window that ends then. Returns false if they would be more than `most`.
local function note_tried(owner, people, window_ends, most)
  local name, window = bucket('tried', owner), format('%d', math.ceil(window_ends / 3600000))
  local until_hour, tried = (redis.call('HGET', name, owner) or ''):match('^(%d+) (.*)$')
  if until_hour ~= window then tried = '' end
  local known = {}
  for n = 1, #tried, 4 do known[tried:sub(n, n + 3)] = true end
  local after = tried
  for n = 1, #people, 16 do
    local person = people:sub(n, n + 3)
    if not known[person] then after = after .. person end
  end
  if #after > 4 * most then return false end
  if after ~= tried then redis.call('HSET', name, owner, window .. ' ' .. after) end
  return true
end
