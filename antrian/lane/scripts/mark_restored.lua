#!lua flags=allow-oom
-- Notes that Redis knows all that the ledger knows of people: lanes may open. ARGV: number of the rebuild.
-- Returns: FENCED | RESTORED. Holds: P9.
if superseded(ARGV[1]) then return { 'FENCED' } end
redis.call('SET', 'restored', 1)
return { 'RESTORED' }
