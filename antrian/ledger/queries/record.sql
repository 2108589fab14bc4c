-- Records turns of lanes, each completely or not at all: moves each lane forward if the consumer may, then updates slots and
-- adds bookings and applicants. One statement, so that no client can stop in the middle and keep a lane locked. Idempotent:
-- existing rows stay.
-- in, as one array per column: office, token, first, last (tickets) of the turns; s_turn (its position), s_date, s_session of
-- their slots; slot (its position), booking_id, ticket, party_size, reason (null: CONFIRMED), first_number, fingerprint, caller,
-- account, accepted (ms) of the decisions; a_booking_id, a_number, a_key, a_encrypted, a_verified of the applicants of CONFIRMED ones. Also
-- policy_version, by which the turns were decided (or null).
-- out, per lane that was moved: its office, the number of new bookings, and the tickets of those that are TOO_LATE. A lane is
-- not moved if a newer token has written (fenced), if the turn neither follows the last ticket nor repeats the last turn (a gap),
-- or if a slot is missing.
-- A decision that is recorded after its day has begun is TOO_LATE: nobody may miss a day before learning of the booking.
-- Applicants are inserted in key order, since two lanes would otherwise deadlock.
-- Holds: P1 (slot_taken_within_quota), P2, P3, P4 (applicant_one_live_booking), P6 (applicant_number_once), P14.
with moment as materialized (select service_now() as now), -- the same moment for all rows

moved as (
    update lane
    set token = turn.token, last_ticket = turn.last
    from unnest(%(office)b::text[], %(token)b::bigint[], %(first)b::bigint[], %(last)b::bigint[])
        with ordinality as turn (office_id, token, first, last, number)
    where lane.office_id = turn.office_id
        and lane.token <= turn.token
        and lane.last_ticket in (turn.first - 1, turn.last)
        and not exists (
            select from unnest(%(s_turn)b::int[], %(s_date)b::date[], %(s_session)b::text[]) as s (turn, service_date, session)
            where s.turn = turn.number and not exists (
                select from slot
                where slot.office_id = turn.office_id and slot.service_date = s.service_date and slot.session = s.session
            )
        )
    returning lane.office_id, turn.number
),

wanted as materialized (
    select s.number, slot.slot_id, moved.office_id, moment.now >= day_begins(s.service_date, office.time_zone) as begun
    from moved
    cross join moment
    join unnest(%(s_turn)b::int[], %(s_date)b::date[], %(s_session)b::text[])
        with ordinality as s (turn, service_date, session, number) on s.turn = moved.number
    join office using (office_id)
    join slot on slot.office_id = moved.office_id and slot.service_date = s.service_date and slot.session = s.session
),

decided as (
    select
        r.booking_id, wanted.office_id, r.ticket, wanted.slot_id, r.party_size,
        case when r.reason is null and wanted.begun then 'TOO_LATE' else r.reason end as reason,
        r.first_number, r.fingerprint, r.caller, r.account, to_timestamp(r.accepted / 1000.0) as accepted_at
    from unnest(
        %(slot)b::int[], %(booking_id)b::uuid[], %(ticket)b::bigint[], %(party_size)b::int[], %(reason)b::text[],
        %(first_number)b::int[], %(fingerprint)b::text[], %(caller)b::text[], %(account)b::text[], %(accepted)b::bigint[]
    ) as r (
        slot, booking_id, ticket, party_size, reason, first_number, fingerprint, caller, account, accepted
    )
    join wanted on wanted.number = r.slot
),

fresh as (
    insert into booking (
        booking_id, office_id, ticket, slot_id, party_size, state, reason, first_number, fingerprint, caller, account,
        accepted_at, decided_at, policy_version
    )
    select
        booking_id, office_id, ticket, slot_id, party_size, case when reason is null then 'CONFIRMED' else 'REJECTED' end,
        reason, first_number, fingerprint, caller, account, accepted_at, moment.now, %(policy_version)b::int
    from decided
    cross join moment
    on conflict (booking_id) do nothing
    returning booking_id, office_id, ticket, slot_id, party_size, state, reason, first_number
),

taken as (
    update slot
    set taken = slot.taken + sums.places, last_number = greatest(slot.last_number, sums.last_number)
    from (
        select
            slot_id,
            coalesce(sum(party_size) filter (where state = 'CONFIRMED'), 0) as places,
            max(first_number + party_size - 1) as last_number
        from fresh
        where first_number is not null
        group by slot_id
    ) as sums
    where slot.slot_id = sums.slot_id
),

seated as (
    insert into applicant (slot_id, number, booking_id, applicant_key, encrypted, verified)
    select fresh.slot_id, a.number, a.booking_id, a.applicant_key, a.encrypted, a.verified
    from unnest(
        %(a_booking_id)b::uuid[], %(a_number)b::int[], %(a_key)b::bytea[], %(a_encrypted)b::bytea[],
        %(a_verified)b::boolean[]
    ) as a (booking_id, number, applicant_key, encrypted, verified)
    join fresh using (booking_id)
    where fresh.state = 'CONFIRMED'
    order by a.applicant_key
)

select moved.office_id, count(fresh.ticket), array_agg(fresh.ticket) filter (where fresh.reason = 'TOO_LATE')
from moved
left join fresh using (office_id)
group by moved.office_id
