-- Stores the check values of the ledger's keys unless it has some: of two concurrent programs, the first one stores both.
-- in: hash, seal (bytea, key check values).
insert into key_check_value (kind, value) values ('hash', %(hash)s), ('seal', %(seal)s)
on conflict do nothing
