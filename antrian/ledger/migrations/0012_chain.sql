-- The record of changes and the hash chain over the ledger, by which `antrian verify` notices what was changed past the programs
-- (P17, docs/decisions/2026-11-28-hash-chain.md).

set local timezone = 'UTC';

-- Every change of a booking, an applicant or a bar, and every staff action and policy, as digests of the row before and after
-- it. Rows are only ever added, by the trigger of each table.
create table journal (
    entry bigint generated always as identity primary key,
    kind text not null, -- the table
    row_id text not null, -- the row's primary key
    before bytea, -- digest of the row before the change; null: the row is new
    after bytea, -- digest of the row after it; null: the row has another primary key now
    made_at timestamptz not null default clock_timestamp(), -- real time, which embedded stores may move ahead of
    made_by text not null default session_user -- the role of Postgres that made the change
);
create index journal_by_row on journal (kind, row_id, entry);

-- The digest of a row is the SHA-256 of its jsonb without nulls, with times in UTC. antrian/ledger/queries/ has the same
-- expression: a verifier must not depend on a function that the database's owner can replace.
-- It runs as its owner, so that programs need no right to write to the journal.
create function journal_change() returns trigger language plpgsql security definer
    set search_path = public, pg_temp set timezone = 'UTC' set bytea_output = 'hex' as $$
declare
    old_id text;
    new_id text := case tg_table_name
        when 'booking' then to_jsonb(new) ->> 'booking_id'
        when 'applicant' then concat(to_jsonb(new) ->> 'slot_id', ' ', to_jsonb(new) ->> 'number')
        when 'bar' then concat(to_jsonb(new) ->> 'booking_id', ' ', to_jsonb(new) ->> 'applicant_key')
        when 'staff_action' then to_jsonb(new) ->> 'action_id'
        when 'policy_version' then to_jsonb(new) ->> 'version'
    end;
    before bytea;
    after bytea := sha256(convert_to(jsonb_strip_nulls(to_jsonb(new))::text, 'UTF8'));
begin
    if tg_op = 'UPDATE' then
        before := sha256(convert_to(jsonb_strip_nulls(to_jsonb(old))::text, 'UTF8'));
        if before = after then
            return null;
        end if;
        old_id := case tg_table_name
            when 'booking' then to_jsonb(old) ->> 'booking_id'
            when 'applicant' then concat(to_jsonb(old) ->> 'slot_id', ' ', to_jsonb(old) ->> 'number')
            when 'bar' then concat(to_jsonb(old) ->> 'booking_id', ' ', to_jsonb(old) ->> 'applicant_key')
        end;
        if old_id <> new_id then
            insert into journal (kind, row_id, before) values (tg_table_name, old_id, before);
            before := null;
        end if;
    end if;
    insert into journal (kind, row_id, before, after) values (tg_table_name, new_id, before, after);
    return null;
end $$;

-- Bookings and applicants are journaled from their first change on: as they were recorded, the chain covers them by ticket.
create trigger booking_journal after update on booking for each row execute function journal_change();
create trigger applicant_journal after update on applicant for each row execute function journal_change();
create trigger bar_journal after insert or update on bar for each row execute function journal_change();
create trigger staff_action_journal after insert on staff_action for each row execute function journal_change();
create trigger policy_version_journal after insert on policy_version for each row execute function journal_change();

-- Rows from before this migration.
insert into journal (kind, row_id, after)
select 'bar', concat(booking_id, ' ', applicant_key), sha256(convert_to(jsonb_strip_nulls(to_jsonb(bar))::text, 'UTF8')) from bar;
insert into journal (kind, row_id, after)
select 'staff_action', action_id, sha256(convert_to(jsonb_strip_nulls(to_jsonb(staff_action))::text, 'UTF8')) from staff_action;
insert into journal (kind, row_id, after)
select 'policy_version', version, sha256(convert_to(jsonb_strip_nulls(to_jsonb(policy_version))::text, 'UTF8')) from policy_version;

-- The hash chain. A link covers the bookings of a lane, as recorded, by their tickets, or entries of the journal. Rows are only
-- ever added, by the workers' audit, which signs the newest hash outside the database.
create table link (
    link bigint primary key check (link > 0), -- 1, 2, 3, …
    office_id text, -- the lane; null: the journal
    first bigint not null, -- the first ticket, or the first entry
    last bigint not null, -- and the last one
    digest bytea not null check (length(digest) = 32), -- SHA-256 of what is covered
    hash bytea not null check (length(hash) = 32), -- SHA-256 of the previous hash and the columns above
    made_at timestamptz not null default clock_timestamp(), -- real time
    constraint link_covers_something check (first <= last)
);
create index link_by_lane on link (office_id, last);

create function chain_is_for_good() returns trigger language plpgsql as $$
begin
    raise exception '% is only ever added to', tg_table_name
        using errcode = 'check_violation', constraint = tg_table_name || '_is_for_good';
end $$;
create trigger journal_is_for_good before update or delete on journal for each row execute function chain_is_for_good();
create trigger link_is_for_good before update or delete on link for each row execute function chain_is_for_good();

-- Reads of personal data are staff actions, too.
alter table staff_action drop constraint staff_action_kind_check;
alter table staff_action add constraint staff_action_kind_check check (kind in (
    'CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE', 'RELEASE', 'CANCEL_PERSON',
    'LIFT_BAR', 'EXCUSE_NO_SHOW', 'UNDO_CHECK_IN', 'LATE_ATTENDANCE', 'RETIRE_OFFICE', 'REOPEN_OFFICE', 'CORRECT_NAME',
    'READ_ROSTER', 'READ_BARS', 'RETENTION', 'EXPORT_PERSON', 'ERASE_PERSON'
));

-- How far the personal data of past days are erased. A booking whose data are erased has no account, and its applicants have no
-- encrypted data and a random applicant key.
create table retention (
    office_id text primary key references office,
    erased_ticket bigint not null -- the bookings of the lane up to this ticket are erased
);
