-- Returns the check value of the ledger's hash key. out: value; no row if no program has stored it.
select value from key_check_value
