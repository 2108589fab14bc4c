-- P10 who missed a day is barred once, and nobody else
-- out: examined (bars and people of no-shows), breaches (absent people of days that are done without their bar, bars of
-- people who came or gave up, or whose booking was cancelled, days that are over for two hours and not done).
with missed as (
    select a.applicant_key, a.booking_id
    from applicant as a
    join booking as b using (booking_id)
    join slot as s on s.slot_id = b.slot_id
    join day_done as d on d.office_id = s.office_id and d.service_date = s.service_date
    where a.cancelled_at is null
        and (b.state = 'NO_SHOW' or b.state = 'ATTENDED' and a.present_at is null and not s.closed)
)

select
    (select count(*) from bar) + (select count(*) from missed),
    (select count(*) from (select applicant_key, booking_id from missed except select applicant_key, booking_id from bar) as x)
    + (select count(*) from (select applicant_key, booking_id from bar except select applicant_key, booking_id from missed) as y)
    + (
        select count(*)
        from booking as b
        join slot as s using (slot_id)
        join office as o on o.office_id = s.office_id
        where b.state = 'CONFIRMED' and service_now() > day_begins(s.service_date + 1, o.time_zone) + interval '2 hours'
    )
