-- P4 an applicant holds one live booking, and live means confirmed
-- out: examined (live applicants), breaches (people live twice, and bookings whose people do not fit their state).
select
    (select count(*) from applicant where live),
    (select count(*) from (select from applicant where live group by applicant_key having count(*) > 1) as twice)
    + (
        select count(*)
        from booking as b
        cross join lateral (
            select count(*) filter (where live) as live, count(*) as people
            from applicant where booking_id = b.booking_id
        ) as a
        where (a.people <> case when b.state = 'REJECTED' then 0 else b.party_size end
            or b.state = 'CONFIRMED' and a.live <> b.party_size
            or b.state not in ('CONFIRMED', 'ATTENDED') and a.live > 0)
    )
