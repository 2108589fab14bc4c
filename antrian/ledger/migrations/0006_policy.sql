-- Stores the rules in the ledger, so that they do not depend on the policy file with which a program was started
-- (antrian/ledger/policies.py, docs/decisions/2026-11-28-policy-in-the-ledger.md).

-- content: a policy file that depends on no package. staff, why: who applied the version, and the reason. The newest version
-- is in force. Rows are only ever added.
create table policy_version (
    version int primary key check (version > 0),
    content text not null,
    applied_at timestamptz not null,
    staff text not null,
    why text not null
);

create function policy_version_is_for_good() returns trigger language plpgsql as $$
begin
    raise exception 'policy_version is only ever added to'
        using errcode = 'check_violation', constraint = 'policy_version_is_for_good';
end $$;
create trigger policy_version_is_for_good before update or delete on policy_version
    for each row execute function policy_version_is_for_good();

-- The version by which the booking was decided; null if before there were versions.
alter table booking add column policy_version int;
