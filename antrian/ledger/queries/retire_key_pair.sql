-- Retires a key pair: no program may encrypt to it any more. in: pair_id.
update key_pair set retired_at = clock_timestamp() where pair_id = %(pair_id)s and retired_at is null
