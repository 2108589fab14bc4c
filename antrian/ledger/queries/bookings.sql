-- Returns bookings as they are now. in: $1, their ids.
-- out: booking_id, office_id, ticket, service_date, session, party_size, state, reason, first_number, cancelled (queue numbers
-- of people who cancelled; null: nobody), people (key and encrypted data of the others, by number), caller, account,
-- accepted_at, decided_at, ended_at, now (the service's time).
select
    b.booking_id, b.office_id, b.ticket, s.service_date, s.session, b.party_size, b.state, b.reason, b.first_number,
    case when b.cancelled_people > 0 then array(
        select a.number
        from applicant as a
        where a.slot_id = b.slot_id
            and a.number between b.first_number and b.first_number + b.party_size - 1
            and a.cancelled_at is not null
        order by a.number
    ) end,
    array(
        select a.applicant_key || a.encrypted
        from applicant as a
        where a.slot_id = b.slot_id
            and a.number between b.first_number and b.first_number + b.party_size - 1
            and a.cancelled_at is null
        order by a.number
    ),
    b.caller, b.account, b.accepted_at, b.decided_at, b.ended_at, (select service_now())
from booking as b
join slot as s using (slot_id)
where b.booking_id = any($1::uuid[])
