-- P4 an applicant holds one live booking, and live means confirmed
-- out: examined (live applicants), violations (people with two live bookings, and bookings whose people do not match their state).
select
    (select count(*) from applicant where live),
    (select count(*) from (select from applicant where live group by applicant_key having count(*) > 1) as twice)
    + (
        select count(*)
        from booking as b
        full join (
            select
                booking_id, count(*) filter (where live) as live, count(*) as people,
                count(cancelled_at) as cancelled
            from applicant
            group by booking_id
        ) as a using (booking_id)
        where b.booking_id is null
            or coalesce(a.people, 0) <> case when b.state = 'REJECTED' then 0 else b.party_size end
            or b.state = 'CONFIRMED' and a.live <> b.party_size - b.cancelled_people
            or coalesce(a.cancelled, 0) <> b.cancelled_people
            or b.state not in ('CONFIRMED', 'ATTENDED') and a.live > 0
    )
