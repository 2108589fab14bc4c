-- Makes a NO_SHOW booking EXCUSED, ends the bars of its people, and records the action; refused says why nothing changed.
-- Idempotent. in: office, action_id, caller, staff, why, booking_id. Holds: P7, P10.
with asked as (
    select
        b.booking_id, b.state, s.service_date, s.session,
        case when b.state not in ('NO_SHOW', 'EXCUSED') then 'NOT_MISSED' end as refused
    from booking as b
    join slot as s using (slot_id)
    where b.booking_id = %(booking_id)s
        and b.office_id = %(office)s
        and not exists (select from staff_action where action_id = %(action_id)s)
),

excused as (
    update booking
    set state = 'EXCUSED'
    from asked
    where booking.booking_id = asked.booking_id and booking.state = 'NO_SHOW'
),

lifted as (
    update bar
    set lifted_at = service_now()
    from asked
    where bar.booking_id = asked.booking_id and bar.lifted_at is null and asked.refused is null
    returning bar.booking_id
)

insert into staff_action
select
    %(action_id)s, 'EXCUSE_NO_SHOW', %(office)s, service_date, session, %(caller)s, %(staff)s, %(why)s,
    jsonb_build_object('booking_id', booking_id, 'state', state),
    jsonb_build_object(
        'state', case when refused is null then 'EXCUSED' else state end, 'bars_lifted', (select count(*) from lifted)
    ),
    refused, service_now()
from asked
