-- The ledger's complete schema after all migrations, for readers. `antrian migrate` creates databases from the files of
-- migrations/ (docs/decisions/2026-11-28-one-schema-file.md). tests/integration/test_schema.py checks that both are equal.
-- Columns are in the order in which they were added. P1 to P17 are the promises of docs/promises.md.

-- Provinces and their offices are imported from files.

create table province (
    province_code text primary key, -- ISO 3166-2:ID
    name_id text not null, -- in Indonesian
    name_en text not null, -- in English
    nik_code char(2) not null unique, -- the first two digits of a NIK that was issued there
    time_zone text not null -- IANA name
);

create table office (
    office_id text primary key,
    name text not null,
    office_class text not null, -- as the immigration service ranks it
    city text not null,
    province_code text not null references province,
    time_zone text not null, -- IANA name; its days begin and end by it
    latitude double precision not null, -- degrees, WGS 84
    longitude double precision not null,
    daily_quota int not null check (daily_quota >= 0), -- applicants per day, for slots that are created later
    address text not null,
    morning_percent int check (morning_percent between 0 and 100), -- the morning's share of the quota; null: the policy's
    retired_at timestamptz -- since when it accepts no new bookings; null: it accepts them
);

-- Places to book: one row per office, day and session.
create table slot (
    slot_id bigint generated always as identity primary key,
    office_id text not null references office,
    service_date date not null, -- the day at the office
    session text not null check (session in ('MORNING', 'AFTERNOON')),
    quota int not null check (quota >= 0), -- the maximum number of applicants
    taken int not null default 0, -- applicants who hold a place
    last_number int not null default 0, -- the highest queue number ever given; numbers of cancelled bookings stay retired
    closed boolean not null default false, -- whether the day is closed: its places cannot be booked
    constraint slot_once unique (office_id, service_date, session),
    constraint slot_taken_within_quota check (taken between 0 and quota) -- P1
);

-- How far each office's lane is recorded. The row is the lock behind the lane's lease: a worker with an older token cannot
-- write.
create table lane (
    office_id text primary key references office,
    token bigint not null default 0, -- the highest token that has written
    last_ticket bigint not null default 0, -- the last recorded ticket
    epoch int not null default 0, -- how often the lane was opened on a Redis that did not know it
    last_command bigint not null default 0, -- the last recorded command
    skipped bigint not null default 0 -- tickets that rebuilds skipped, since a lost Redis may have issued them
);

-- The outcome of every accepted request, kept forever. A rejected booking has no rows in applicant.
create table booking (
    booking_id uuid primary key, -- P2, P5: one outcome per request
    office_id text not null,
    ticket bigint not null check (ticket > 0), -- arrival number in the lane
    slot_id bigint not null,
    party_size int not null check (party_size > 0), -- applicants
    state text not null check (state in ('CONFIRMED', 'REJECTED', 'CANCELLED', 'ATTENDED', 'NO_SHOW', 'EXCUSED')),
    reason text, -- why it was rejected or cancelled, or one of its people was cancelled by others than its account
    first_number int check (first_number > 0), -- queue number of its first applicant; the others have the next ones
    caller text not null, -- the system that sent the request
    account text not null, -- the user of that system
    accepted_at timestamptz not null,
    decided_at timestamptz not null,
    fingerprint text not null default '', -- hash of the request's content, which tells a retry from another request
    ended_at timestamptz, -- when it became CANCELLED, ATTENDED, NO_SHOW or EXCUSED
    policy_version int, -- the version by which it was decided; null: decided before there were versions
    cancelled_people int not null default 0, -- the number of its applicants with cancelled_at
    constraint booking_one_per_ticket unique (office_id, ticket), -- P3
    constraint booking_reason_known check (reason in (
        'SLOT_FULL', 'TOO_LATE', 'ALREADY_BOOKED', 'INTERNAL', 'DAY_CLOSED', 'RELEASED_BY_OFFICE', 'PERSON_CANCELLED_BY_OFFICE',
        'RECLAIMED'
    )),
    constraint booking_reason_when_rejected check (case state
        when 'REJECTED' then reason is not null
        when 'CANCELLED' then true
        else reason is null or reason in ('PERSON_CANCELLED_BY_OFFICE', 'RECLAIMED')
    end),
    constraint booking_number_when_confirmed check (state = 'REJECTED' or first_number is not null),
    constraint booking_someone_is_left
        check (cancelled_people between 0 and party_size - case state when 'CANCELLED' then 0 else 1 end)
);
create index booking_by_account on booking (caller, account);

-- P7: the only transitions between states. Undoing a check-in on its day leads back to CONFIRMED.
create function booking_moves_forward() returns trigger language plpgsql as $$
begin
    if old.state is distinct from new.state and not (
        old.state = 'CONFIRMED' and new.state in ('CANCELLED', 'ATTENDED', 'NO_SHOW')
        or old.state = 'ATTENDED' and new.state = 'CONFIRMED'
        or old.state = 'NO_SHOW' and new.state in ('ATTENDED', 'EXCUSED')
    ) then
        raise exception 'booking %: no way from % to %', old.booking_id, old.state, new.state
            using errcode = 'check_violation', constraint = 'booking_moves_forward';
    end if;
    return new;
end $$;
create trigger booking_moves_forward before update of state on booking
    for each row execute function booking_moves_forward();

-- The people of confirmed bookings, one row each. A booking's applicants are those of its slot with its numbers.
-- P14: the NIK is stored only as its keyed hash and, with the name, encrypted.
create table applicant (
    slot_id bigint not null,
    number int not null check (number > 0), -- queue number
    booking_id uuid not null,
    applicant_key bytea not null check (length(applicant_key) = 16), -- keyed hash of the NIK
    encrypted bytea not null, -- NIK and name, encrypted to a key pair (antrian/encryption.py)
    live boolean not null default true, -- the person is still expected, and so cannot book again
    present_at timestamptz, -- when the person was checked in
    cancelled_at timestamptz, -- when the person's place was cancelled
    corrected_at timestamptz, -- when the account corrected the name, which it may do once
    verified boolean not null default false, -- whether the caller vouched that this person was identified
    constraint applicant_number_once primary key (slot_id, number), -- P6
    constraint applicant_present_or_live check (not live or present_at is null),
    constraint applicant_cancelled_is_gone check (cancelled_at is null or not live and present_at is null)
);
create unique index applicant_one_live_booking on applicant (applicant_key) where live; -- P4

-- People who missed a booking, and until when they may not book.
create table bar (
    applicant_key bytea not null check (length(applicant_key) = 16), -- keyed hash of the NIK
    booking_id uuid not null references booking, -- the booking that was missed
    last_day date not null, -- the last barred day at the booking's office
    ends_at timestamptz not null, -- the end of that day
    lifted_at timestamptz, -- when staff ended the bar early; the row stays, so that the day cannot bar the person again
    constraint bar_once primary key (applicant_key, booking_id) -- P10
);
create index bar_by_booking on bar (booking_id);

-- Finished days: days of offices that are over and whose no-shows are recorded.
create table day_done (
    office_id text not null references office,
    service_date date not null,
    done_at timestamptz not null,
    no_shows int not null, -- applicants who were barred
    synced boolean not null default false, -- whether Redis has the day's bars, too
    verified_only boolean not null default false, -- whether the policy of that time barred only verified people for a no-show
    constraint day_done_once primary key (office_id, service_date) -- P10
);
create index day_done_unsynced on day_done (office_id) where not synced;
create index day_done_synced on day_done (done_at) where synced; -- detects a Redis restored from an older copy

-- What staff did or tried to do, which personal data they read, and people who were cancelled for verified requests (RECLAIM).
-- Rows are only ever added.
create table staff_action (
    action_id uuid primary key,
    kind text not null check (kind in (
        'CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE', 'RELEASE', 'CANCEL_PERSON', 'RECLAIM',
        'LIFT_BAR', 'EXCUSE_NO_SHOW', 'UNDO_CHECK_IN', 'LATE_ATTENDANCE', 'RETIRE_OFFICE', 'REOPEN_OFFICE', 'CORRECT_NAME',
        'READ_ROSTER', 'READ_BARS', -- reads of personal data: nothing changed, after has the number of people
        'RETENTION', 'EXPORT_PERSON', 'ERASE_PERSON'
    )),
    office_id text not null references office,
    service_date date not null,
    session text check (session in ('MORNING', 'AFTERNOON')), -- null: the action concerns the whole day, or no session
    caller text not null, -- the system through which it was done
    staff text not null, -- that system's id of the member of staff; for RECLAIM, the account of the verified request
    why text not null,
    before jsonb not null, -- the changed values before the action
    after jsonb not null, -- the same values after it
    refused text, -- why nothing changed; null: the action was executed
    done_at timestamptz not null
);
create index staff_action_by_day on staff_action (office_id, service_date);

create function staff_action_is_for_good() returns trigger language plpgsql as $$
begin
    raise exception 'staff_action is only ever added to' using errcode = 'check_violation', constraint = 'staff_action_is_for_good';
end $$;
create trigger staff_action_is_for_good before update or delete on staff_action
    for each row execute function staff_action_is_for_good();

-- The rules of booking; the newest version is in force. Rows are only ever added.
create table policy_version (
    version int primary key check (version > 0),
    content text not null, -- a complete policy file (TOML)
    applied_at timestamptz not null,
    staff text not null, -- who applied it
    why text not null
);

create function policy_version_is_for_good() returns trigger language plpgsql as $$
begin
    raise exception 'policy_version is only ever added to'
        using errcode = 'check_violation', constraint = 'policy_version_is_for_good';
end $$;
create trigger policy_version_is_for_good before update or delete on policy_version
    for each row execute function policy_version_is_for_good();

-- The record of changes and the hash chain over the ledger, by which `antrian verify` notices what was changed past the programs
-- (P17, docs/decisions/2026-11-28-hash-chain.md).

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

-- How far the personal data of past days are erased. A booking whose data are erased has no account, and its applicants have no
-- encrypted data and a random applicant key.
create table retention (
    office_id text primary key references office,
    erased_ticket bigint not null -- the bookings of the lane up to this ticket are erased
);

-- Identifies the hash key of the stored data. A program with another one does not start: one NIK could hold two live bookings
-- (P4).
create table key_check_value (
    kind text primary key check (kind = 'hash'),
    value bytea not null check (length(value) = 16) -- keyed hash of a constant: identifies a key without revealing it
);

-- The offices' key pairs. Each applicant.encrypted begins with the id of its pair. The private keys are never in the ledger.
create table key_pair (
    pair_id bytea primary key check (length(pair_id) = 8), -- hash of the public key
    public_key bytea not null check (length(public_key) = 32), -- X25519
    added_at timestamptz not null default clock_timestamp(),
    retired_at timestamptz -- since when nothing may be encrypted to the pair
);

-- How far the service's clock is ahead of real time: zero, except in demos and tests on embedded stores. One row.
create table clock (
    one boolean primary key default true check (one),
    ahead interval not null default '0' check (ahead >= '0')
);
insert into clock default values;

create function service_now() returns timestamptz language sql stable as
    'select clock_timestamp() + ahead from clock';

-- Returns the midnight at which a day begins at the office.
create function day_begins(day date, time_zone text) returns timestamptz language sql stable as
    'select day::timestamp at time zone time_zone';

-- The migrations that were applied to this database.
create table migration (
    name text primary key, -- the file name
    applied_at timestamptz not null
);
