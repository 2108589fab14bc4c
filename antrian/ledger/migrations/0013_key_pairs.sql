-- Personal data are encrypted to the public key of one of these pairs, and no longer by a key that every server has.

delete from key_check_value where kind = 'seal';
alter table key_check_value drop constraint key_check_value_kind_check;
alter table key_check_value add constraint key_check_value_kind_check check (kind = 'hash');

-- The offices' key pairs. Each applicant.encrypted begins with the id of its pair. The private keys are never in the ledger.
-- retired_at: since when nothing may be encrypted to the pair.
create table key_pair (
    pair_id bytea primary key check (length(pair_id) = 8),
    public_key bytea not null check (length(public_key) = 32),
    added_at timestamptz not null default clock_timestamp(),
    retired_at timestamptz
);
