-- Writes the decisions of a turn: slots taken, bookings, applicants. Safe to repeat: what is there stays as it is.
-- in: office, token, last; one array a column of the decisions; one array a column of their applicants (CONFIRMED only).
-- Does nothing unless fence.sql has moved the lane to this token and last ticket, in the same transaction.
-- A decision that comes here only after its day has begun is TOO_LATE: nobody is to miss a day before he is told of it.
-- Applicants go in by key order: unsorted, two lanes deadlocked.
-- Holds: P1 (slot_taken_within_quota), P2, P4 (applicant_one_live_booking), P6 (applicant_number_once), P14.
with moment as materialized (select service_now() as now), -- one for all, and once

decided as (
    select
        r.booking_id, r.ticket, slot.slot_id, r.party_size, r.first_number, r.fingerprint, r.caller, r.account,
        r.accepted_at, moment.now,
        r.state = 'CONFIRMED' and moment.now >= day_begins(r.service_date, office.time_zone) as late, r.state, r.reason
    from unnest(
        %(booking_id)b::uuid[], %(ticket)b::bigint[], %(service_date)b::date[], %(session)b::text[],
        %(party_size)b::int[], %(state)b::text[], %(reason)b::text[], %(first_number)b::int[], %(fingerprint)b::text[],
        %(caller)b::text[], %(account)b::text[], %(accepted_at)b::timestamptz[]
    ) as r (
        booking_id, ticket, service_date, session, party_size, state, reason, first_number, fingerprint, caller, account,
        accepted_at
    )
    cross join moment
    join office on office.office_id = %(office)s
    join slot on slot.office_id = %(office)s and slot.service_date = r.service_date and slot.session = r.session
    where exists (
        select from lane where office_id = %(office)s and token = %(token)s and last_ticket = %(last)s
    )
),

fresh as (
    insert into booking (
        booking_id, office_id, ticket, slot_id, party_size, state, reason, first_number, fingerprint, caller, account,
        accepted_at, decided_at
    )
    select
        booking_id, %(office)s, ticket, slot_id, party_size, case when late then 'REJECTED' else state end,
        case when late then 'TOO_LATE' else reason end, first_number, fingerprint, caller, account, accepted_at, now
    from decided
    on conflict (booking_id) do nothing
    returning booking_id, slot_id, party_size, state, first_number
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
)

insert into applicant (slot_id, number, booking_id, applicant_key, sealed)
select fresh.slot_id, a.number, a.booking_id, a.applicant_key, a.sealed
from unnest(
    %(a_booking_id)b::uuid[], %(a_number)b::int[], %(a_key)b::bytea[], %(a_sealed)b::bytea[]
) as a (booking_id, number, applicant_key, sealed)
join fresh using (booking_id)
where fresh.state = 'CONFIRMED'
order by a.applicant_key
