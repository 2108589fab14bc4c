-- Returns a page of an account's bookings, the newest first, with the columns of bookings.sql.
-- in: caller, account, state (or null), service_date (or null), before_at and before_id (of the last booking of the previous
-- page, or null), most.
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
where b.caller = %(caller)s
    and b.account = %(account)s
    and (%(state)s::text is null or b.state = %(state)s)
    and (%(service_date)s::date is null or s.service_date = %(service_date)s)
    and (%(before_at)s::timestamptz is null or (b.decided_at, b.booking_id) < (%(before_at)s, %(before_id)s::uuid))
order by b.decided_at desc, b.booking_id desc
limit %(most)s
