-- Records after the day, until a moment, that people attended: a booking that nobody had attended becomes ATTENDED, and their
-- bars end. Skips people who cancelled. Records the action; refused says why nothing changed. Idempotent. Runs after
-- lock_booking.sql.
-- in: office, action_id, caller, staff, why, booking_id, numbers, until. Holds: P7, P10.
with asked as (
    select
        b.booking_id, b.slot_id, b.state, s.service_date, s.session,
        case
            when b.state not in ('CONFIRMED', 'ATTENDED', 'NO_SHOW') then 'NOT_MISSED'
            when service_now() < day_begins(s.service_date + 1, o.time_zone) then 'NOT_MISSED'
            when service_now() >= %(until)s and exists (
                select from applicant as a
                where a.slot_id = b.slot_id and a.booking_id = b.booking_id and a.number = any(%(numbers)s::int[])
                    and a.present_at is null and a.cancelled_at is null
            ) then 'ATTENDANCE_CLOSED'
        end as refused
    from booking as b
    join slot as s using (slot_id)
    join office as o on o.office_id = b.office_id
    where b.booking_id = %(booking_id)s
        and b.office_id = %(office)s
        and not exists (select from staff_action where action_id = %(action_id)s)
),

arrived as (
    update applicant
    set present_at = service_now(), live = false
    from asked
    where asked.refused is null
        and applicant.slot_id = asked.slot_id
        and applicant.booking_id = asked.booking_id
        and applicant.number = any(%(numbers)s::int[])
        and applicant.present_at is null
        and applicant.cancelled_at is null
    returning applicant.number, applicant.applicant_key, applicant.booking_id
),

attended as (
    update booking
    set state = 'ATTENDED', ended_at = coalesce(booking.ended_at, service_now())
    from asked
    where booking.booking_id = asked.booking_id and exists (select from arrived)
),

lifted as (
    update bar
    set lifted_at = service_now()
    from arrived
    where bar.applicant_key = arrived.applicant_key and bar.booking_id = arrived.booking_id and bar.lifted_at is null
)

insert into staff_action
select
    %(action_id)s, 'LATE_ATTENDANCE', %(office)s, service_date, session, %(caller)s, %(staff)s, %(why)s,
    jsonb_build_object('booking_id', booking_id, 'state', state),
    jsonb_build_object(
        'state', case when exists (select from arrived) then 'ATTENDED' else state end,
        'present', (select jsonb_agg(number order by number) from arrived)
    ),
    refused, service_now()
from asked
