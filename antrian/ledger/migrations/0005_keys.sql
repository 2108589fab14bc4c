-- Identifies the keys of the ledger's data. With another hash key, one NIK could hold two live bookings (P4); with another
-- encryption key, no name could be read. antrian/ledger/keys.py refuses both.

-- value: a keyed hash of a constant, which identifies a key without revealing it. Written once.
create table key_check_value (
    kind text primary key check (kind in ('hash', 'seal')),
    value bytea not null check (length(value) = 16)
);
