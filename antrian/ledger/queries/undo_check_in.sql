-- Undoes a check-in on its day: these people are expected again, and the booking becomes CONFIRMED again if no other person of it
-- is present. Records the action; refused says why nothing changed. Idempotent. Runs after lock_booking.sql.
-- in: office, action_id, caller, staff, why, booking_id, numbers, taken (queue number of a person who has another booking in
-- Redis, or null). Holds: P4 (applicant_one_live_booking), P7.
with asked as (
    select
        b.booking_id, b.slot_id, b.state, s.service_date, s.session,
        coalesce(%(taken)s::int, (
            select min(a.number)
            from applicant as a
            join applicant as other on other.applicant_key = a.applicant_key and other.booking_id <> a.booking_id and other.live
            where a.slot_id = b.slot_id and a.booking_id = b.booking_id and a.number = any(%(numbers)s::int[])
        )) as taken,
        case
            when b.state not in ('CONFIRMED', 'ATTENDED') then 'NOT_CONFIRMED'
            when s.service_date <> (service_now() at time zone o.time_zone)::date then 'NOT_TODAY'
            when s.closed then 'DAY_CLOSED'
        end as refused
    from booking as b
    join slot as s using (slot_id)
    join office as o on o.office_id = b.office_id
    where b.booking_id = %(booking_id)s
        and b.office_id = %(office)s
        and not exists (select from staff_action where action_id = %(action_id)s)
),

judged as (
    select
        booking_id, slot_id, state, service_date, session, taken,
        coalesce(refused, case when taken is not null then 'BOOKED_AGAIN' end) as refused
    from asked
),

undone as (
    update applicant
    set present_at = null, live = true
    from judged
    where judged.refused is null
        and applicant.slot_id = judged.slot_id
        and applicant.booking_id = judged.booking_id
        and applicant.number = any(%(numbers)s::int[])
        and applicant.present_at is not null
    returning applicant.number
),

back as (
    update booking
    set state = 'CONFIRMED', ended_at = null
    from judged
    where judged.refused is null
        and booking.booking_id = judged.booking_id
        and not exists (
            select from applicant as a
            where a.slot_id = judged.slot_id and a.booking_id = judged.booking_id and a.present_at is not null
                and a.number <> all(%(numbers)s::int[])
        )
    returning booking.booking_id
)

insert into staff_action
select
    %(action_id)s, 'UNDO_CHECK_IN', %(office)s, service_date, session, %(caller)s, %(staff)s, %(why)s,
    jsonb_build_object('booking_id', booking_id, 'state', state),
    jsonb_build_object(
        'state', case when exists (select from back) then 'CONFIRMED' else state end,
        'undone', (select jsonb_agg(number order by number) from undone), 'taken', taken
    ),
    refused, service_now()
from judged
