-- The rules are data of the ledger: what is promised for a day does not depend on which file a program was started with
-- (antrian/ledger/policies.py, docs/decisions/2026-11-28-policy-in-the-ledger.md).

-- content: a policy file that depends on no package. The newest version is in force; staff and why: who applied it. Only
-- ever added to.
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

-- The version by which it was decided; null for what was decided before there were any.
alter table booking add column policy_version int;
