-- Life of a booking after its decision: cancellations, check-ins and no-shows, and the actions of staff.

-- last_command: the last recorded command, as last_ticket is for tickets. skipped: tickets that rebuilds skipped.
alter table lane add column last_command bigint not null default 0;
alter table lane add column skipped bigint not null default 0;

-- Whether the office closed the day, so that its places cannot be booked.
alter table slot add column closed boolean not null default false;

-- fingerprint: hash of the request's content, with which a rebuilt Redis recognises a retry (P5).
-- ended_at: when it became CANCELLED, ATTENDED or NO_SHOW.
alter table booking add column fingerprint text not null default '';
alter table booking add column ended_at timestamptz;
alter table booking drop constraint booking_reason_check;
alter table booking drop constraint booking_reason_when_rejected;
alter table booking add constraint booking_reason_known
    check (reason in ('SLOT_FULL', 'TOO_LATE', 'ALREADY_BOOKED', 'INTERNAL', 'DAY_CLOSED'));
alter table booking add constraint booking_reason_when_rejected
    check (case state when 'REJECTED' then reason is not null when 'CANCELLED' then true else reason is null end);
create index booking_of_slot on booking (slot_id);

-- present_at: when this person was checked in. live now also means: of an ATTENDED party, and still expected.
alter table applicant add column present_at timestamptz;
alter table applicant add constraint applicant_present_or_live check (not live or present_at is null);

-- Finished days: days of offices that are over and whose no-shows are recorded (P10: once).
-- synced: whether Redis has the bars, too.
create table day_done (
    office_id text not null references office,
    service_date date not null,
    done_at timestamptz not null,
    no_shows int not null,
    synced boolean not null default false,
    constraint day_done_once primary key (office_id, service_date)
);
create index day_done_unsynced on day_done (office_id) where not synced;

-- What staff did or tried to do. refused: why nothing changed. Rows are only ever added.
create table staff_action (
    action_id uuid primary key,
    kind text not null check (kind in ('CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE')),
    office_id text not null references office,
    service_date date not null,
    session text check (session in ('MORNING', 'AFTERNOON')),
    caller text not null,
    staff text not null,
    why text not null,
    before jsonb not null,
    after jsonb not null,
    refused text,
    done_at timestamptz not null
);
create index staff_action_by_day on staff_action (office_id, service_date);

create function staff_action_is_for_good() returns trigger language plpgsql as $$
begin
    raise exception 'staff_action is only ever added to' using errcode = 'check_violation', constraint = 'staff_action_is_for_good';
end $$;
create trigger staff_action_is_for_good before update or delete on staff_action
    for each row execute function staff_action_is_for_good();

-- Returns the midnight at which a day begins at the office.
create function day_begins(day date, time_zone text) returns timestamptz language sql stable as
    'select day::timestamp at time zone time_zone';
