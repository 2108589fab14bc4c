-- Which keys made what is in the ledger. With another hash key one NIK could hold two live bookings (P4), with another encryption key
-- nobody's name could be read: antrian/ledger/keys.py refuses both.

-- value: a keyed hash of a constant, so it tells one key from another and does not give the key away. Written once.
create table key_check_value (
    kind text primary key check (kind in ('hash', 'seal')),
    value bytea not null check (length(value) = 16)
);
