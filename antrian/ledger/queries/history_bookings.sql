-- Returns all bookings with the queue numbers of their people, to check a history.
-- out: booking_id, office_id, ticket, service_date, session, party_size, state, reason ('' for none), first_number,
-- account, accepted_at, decided_at, ended_at, numbers (of the people in the booking's slot), cancelled (numbers of people who
-- cancelled), cancelled_at (in the same order).
select
    b.booking_id, b.office_id, b.ticket, s.service_date, s.session, b.party_size, b.state, coalesce(b.reason, ''),
    b.first_number, b.account, b.accepted_at, b.decided_at, b.ended_at, coalesce(a.numbers, '{}'), coalesce(a.cancelled, '{}'),
    coalesce(a.cancelled_at, '{}')
from booking as b
join slot as s using (slot_id)
left join (
    select
        booking_id, slot_id, array_agg(number order by number) as numbers,
        array_agg(number order by number) filter (where cancelled_at is not null) as cancelled,
        array_agg(cancelled_at order by number) filter (where cancelled_at is not null) as cancelled_at
    from applicant
    group by booking_id, slot_id
) as a using (booking_id, slot_id)
