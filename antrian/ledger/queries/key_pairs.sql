-- Returns the ledger's key pairs, the oldest first. out: pair_id, public_key, added_at, retired_at (null: in use).
select pair_id, public_key, added_at, retired_at from key_pair order by added_at
