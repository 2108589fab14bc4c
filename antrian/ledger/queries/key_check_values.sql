-- Returns the check values of the ledger's keys. out: kind, value; no rows if no program has stored any.
select kind, value from key_check_value
