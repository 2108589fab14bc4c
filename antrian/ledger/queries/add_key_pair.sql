-- Adds a key pair, unless the ledger has it. in: pair_id, public_key (bytea).
insert into key_pair (pair_id, public_key) values (%(pair_id)s, %(public_key)s)
on conflict do nothing
