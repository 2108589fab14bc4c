-- Makes these the ledger's keys, unless it has some: of two programs that start at once, the first one's stay, both of them.
-- in: hash, seal (bytea, key check values).
insert into key_check_value (kind, value) values ('hash', %(hash)s), ('seal', %(seal)s)
on conflict do nothing
