-- P6 queue numbers start at 1 without gaps, and each belongs to one applicant
-- out: examined (numbers), violations (missing or repeated numbers, and applicants outside their booking's numbers).
select
    (select coalesce(sum(last_number), 0)::bigint from slot),
    (
        select coalesce(sum(abs(s.last_number - coalesce(n.numbers, 0)) + coalesce(n.numbers - n.different, 0)), 0)::bigint
        from slot as s
        left join (
            select b.slot_id, count(*) as numbers, count(distinct number) as different
            from booking as b
            cross join generate_series(b.first_number, b.first_number + b.party_size - 1) as number
            group by b.slot_id
        ) as n using (slot_id)
    )
    + (
        select count(*)
        from applicant as a
        join booking as b using (booking_id)
        where a.slot_id <> b.slot_id or a.number not between b.first_number and b.first_number + b.party_size - 1
    )
