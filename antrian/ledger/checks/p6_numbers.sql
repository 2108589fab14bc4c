-- P6 queue numbers start at 1, have no gap, and each is one applicant's
-- out: examined (numbers), breaches (numbers missing or given twice, and applicants outside their booking's numbers).
select
    (select coalesce(sum(last_number), 0)::bigint from slot),
    (
        select coalesce(sum(abs(s.last_number - n.numbers) + n.numbers - n.different), 0)::bigint
        from slot as s
        cross join lateral (
            select count(*) as numbers, count(distinct number) as different
            from booking as b
            cross join generate_series(b.first_number, b.first_number + b.party_size - 1) as number
            where b.slot_id = s.slot_id
        ) as n
    )
    + (
        select count(*)
        from applicant as a
        join booking as b using (booking_id)
        where a.slot_id <> b.slot_id or a.number not between b.first_number and b.first_number + b.party_size - 1
    )
