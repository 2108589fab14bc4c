-- How often an account, a device and an address prefix may ask for places. Included by join.lua, after refusals.lua.
-- A limit is a generic cell rate algorithm (GCRA): limits:xxx has, for each of them, the moment until which its requests
-- so far would last at the limit's rate. A request is refused while that moment is further ahead than a burst reaches.
-- Holds: P12.
local REASONS = { a = 'ACCOUNT_RATE_LIMITED', d = 'DEVICE_RATE_LIMITED', p = 'ADDRESS_RATE_LIMITED' }

-- Counts a request of these: 9 bytes each, a letter of REASONS and a hash. limits: per letter the ms between requests (0: no
-- limit), and by how many ms a burst may be ahead. Returns nil, or the refusal of the first that asks too often, with the ms to
-- wait; then it has counted nothing.
local function count_request(askers, limits)
  local lasts = {}
  for n = 1, #askers, 9 do
    local asker = askers:sub(n, n + 8)
    local limit = limits[asker:sub(1, 1)]
    if limit.every > 0 then
      local at = math.max(now, tonumber(redis.call('HGET', bucket('limits', asker:sub(2)), asker) or 0))
      local wait = at - now - limit.ahead
      if wait > 0 then return { REASONS[asker:sub(1, 1)], wait } end
      lasts[asker] = at + limit.every
    end
  end
  for asker, at in pairs(lasts) do redis.call('HSET', bucket('limits', asker:sub(2)), asker, format('%d', at)) end
end
