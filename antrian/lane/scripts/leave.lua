#!lua flags=allow-oom
-- Gives a lease back without having drained the lane. ARGV: office, token. Returns: FENCED | LEFT. Holds: P15.
if fenced(ARGV[1], ARGV[2]) then return { 'FENCED' } end
give_back(ARGV[1], read_lane(ARGV[1]))
return { 'LEFT' }
