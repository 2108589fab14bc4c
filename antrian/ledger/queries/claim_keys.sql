-- Stores the check value of the hash key, and the first key pair, unless the ledger has a check value: of two concurrent
-- programs, the first one stores both. in: hash (bytea, key check value), pair_id, public_key (bytea).
with claimed as (
    insert into key_check_value (kind, value) values ('hash', %(hash)s)
    on conflict do nothing
    returning kind
)

insert into key_pair (pair_id, public_key)
select %(pair_id)s, %(public_key)s from claimed
