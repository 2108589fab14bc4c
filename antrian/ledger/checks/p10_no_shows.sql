-- P10 each person who missed a day is barred once, unless staff lifted the bar, and nobody else is barred
-- out: examined (bars, and people of missed days), violations (absent people of finished days without their bar; bars in force of
-- people who came, cancelled or were excused, or whose booking was cancelled, or who were not verified where that matters; lifted bars without an action of staff; days that
-- have been over for two hours and are not finished).
with missed as (
    select a.applicant_key, a.booking_id, b.state
    from applicant as a
    join booking as b using (booking_id)
    join slot as s on s.slot_id = b.slot_id
    join day_done as d on d.office_id = s.office_id and d.service_date = s.service_date
    where a.cancelled_at is null
        and (a.verified or not d.verified_only)
        and (b.state in ('NO_SHOW', 'EXCUSED') or b.state = 'ATTENDED' and a.present_at is null and not s.closed)
),

let_off as (
    select (before ->> 'booking_id')::uuid as booking_id
    from staff_action
    where kind in ('LIFT_BAR', 'EXCUSE_NO_SHOW', 'LATE_ATTENDANCE') and refused is null
)

select
    (select count(*) from bar) + (select count(*) from missed),
    (select count(*) from (select applicant_key, booking_id from missed except select applicant_key, booking_id from bar) as x)
    + (
        select count(*)
        from (
            select applicant_key, booking_id from bar where lifted_at is null
            except
            select applicant_key, booking_id from missed where state <> 'EXCUSED'
        ) as y
    )
    + (select count(*) from bar where lifted_at is not null and booking_id not in (select booking_id from let_off))
    + (
        select count(*)
        from booking as b
        join slot as s using (slot_id)
        join office as o on o.office_id = s.office_id
        where b.state = 'CONFIRMED' and service_now() > day_begins(s.service_date + 1, o.time_zone) + interval '2 hours'
    )
