#!lua flags=allow-oom
-- Marks every lane ready that has something to do and nobody who does it: what a killed drainer or a lost mark left.
-- ARGV: the mark of a stock that is whole, then the offices.
-- Answers: how many lanes were marked. Holds: P2, P15.
local marked = 0
for i = 2, #ARGV do
  local office = ARGV[i]
  if redis.call('EXISTS', key('lease', office)) == 0 then
    local lane = redis.call('HMGET', key('lane', office), 'open', 'ticket', 'settled', 'desk', 'desked', 'stocked')
    local waits = lane[1] == '1' and (lane[2] ~= lane[3] or lane[4] ~= lane[5] or lane[6] ~= ARGV[1])
    if waits or not lane[1] then
      marked = marked + redis.call('ZADD', 'ready', 'NX', real_us(), office)
    end
  end
end
return marked
