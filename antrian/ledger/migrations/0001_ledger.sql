-- The ledger, which is the truth. Every promise that SQL can enforce is a named constraint or index here.

create table province (
    province_code text primary key,
    name_id text not null,
    name_en text not null,
    nik_code char(2) not null unique,
    time_zone text not null
);

create table office (
    office_id text primary key,
    name text not null,
    office_class text not null,
    city text not null,
    province_code text not null references province,
    time_zone text not null,
    latitude double precision not null,
    longitude double precision not null,
    daily_quota int not null check (daily_quota >= 0),
    address text not null,
    morning_percent int check (morning_percent between 0 and 100)
);

-- The places of an office, day and session. last_number is the highest queue number ever given, retired ones included.
create table slot (
    slot_id bigint generated always as identity primary key,
    office_id text not null references office,
    service_date date not null,
    session text not null check (session in ('MORNING', 'AFTERNOON')),
    quota int not null check (quota >= 0),
    taken int not null default 0,
    last_number int not null default 0,
    constraint slot_once unique (office_id, service_date, session),
    constraint slot_taken_within_quota check (taken between 0 and quota) -- P1
);

-- The lock behind the lane's lease. token: the newest that has written. last_ticket: the last recorded one. epoch: how often
-- the lane was opened on an empty Redis.
create table lane (
    office_id text primary key references office,
    token bigint not null default 0,
    last_ticket bigint not null default 0,
    epoch int not null default 0
);

-- A decided request, kept forever. A REJECTED one has no data of its people.
create table booking (
    booking_id uuid primary key, -- P2, P5: one outcome per request
    office_id text not null references lane,
    ticket bigint not null check (ticket > 0),
    slot_id bigint not null references slot,
    party_size int not null check (party_size > 0),
    state text not null check (state in ('CONFIRMED', 'REJECTED', 'CANCELLED', 'ATTENDED', 'NO_SHOW')),
    reason text check (reason in ('SLOT_FULL', 'TOO_LATE', 'ALREADY_BOOKED', 'INTERNAL')),
    first_number int check (first_number > 0),
    caller text not null,
    account text not null,
    accepted_at timestamptz not null,
    decided_at timestamptz not null,
    constraint booking_one_per_ticket unique (office_id, ticket), -- P3
    constraint booking_reason_when_rejected check ((state = 'REJECTED') = (reason is not null)),
    constraint booking_number_when_confirmed check (state = 'REJECTED' or first_number is not null)
);
create index booking_by_account on booking (caller, account);

-- P7: states only move forward.
create function booking_moves_forward() returns trigger language plpgsql as $$
begin
    if old.state is distinct from new.state and not (
        old.state = 'CONFIRMED' and new.state in ('CANCELLED', 'ATTENDED', 'NO_SHOW')
    ) then
        raise exception 'booking %: no way from % to %', old.booking_id, old.state, new.state
            using errcode = 'check_violation', constraint = 'booking_moves_forward';
    end if;
    return new;
end $$;
create trigger booking_moves_forward before update of state on booking
    for each row execute function booking_moves_forward();

-- The people of confirmed bookings. live: CONFIRMED, so that nobody holds two (P4). P14: the NIK is stored only as
-- its keyed hash and encrypted (AES-GCM) together with the name.
create table applicant (
    slot_id bigint not null references slot,
    number int not null check (number > 0),
    booking_id uuid not null references booking,
    applicant_key bytea not null check (length(applicant_key) = 16),
    encrypted bytea not null,
    live boolean not null default true,
    constraint applicant_number_once primary key (slot_id, number) -- P6
);
create unique index applicant_one_live_booking on applicant (applicant_key) where live; -- P4
create index applicant_by_booking on applicant (booking_id);

-- A person who missed a day may not book until ends_at. last_day: the last barred day at the booking's office.
create table bar (
    applicant_key bytea not null check (length(applicant_key) = 16),
    booking_id uuid not null references booking,
    last_day date not null,
    ends_at timestamptz not null,
    constraint bar_once primary key (applicant_key, booking_id) -- P10
);

-- How far the service's clock is ahead of real time: only in embedded stores, for demos and tests. One row.
create table clock (
    one boolean primary key default true check (one),
    ahead interval not null default '0' check (ahead >= '0')
);
insert into clock default values;

create function service_now() returns timestamptz language sql stable as
    'select clock_timestamp() + ahead from clock';
