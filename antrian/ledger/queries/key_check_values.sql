-- The key check values of the keys that made what is in the ledger. out: kind, value; no rows while no program has given keys.
select kind, value from key_check_value
