-- Closes an office's day that is not finished: its CONFIRMED bookings become CANCELLED with DAY_CLOSED, all its people are
-- released, and nobody will be barred. Records the action; refused says why nothing changed. Idempotent. Does not check the
-- calendar, since a day may have lost its service under a newer policy.
-- in: office, action_id, caller, staff, why, service_date. Holds: P7, P10.
with asked as (
    select
        (
            select 'DAY_BEGUN'
            from day_done
            where day_done.office_id = office.office_id and day_done.service_date = %(service_date)s
        ) as refused,
        (
            select jsonb_agg(jsonb_build_object(
                'session', session, 'quota', quota, 'taken', taken, 'closed', closed
            ) order by session desc)
            from slot
            where office_id = office.office_id and service_date = %(service_date)s
        ) as before
    from office
    where office_id = %(office)s and not exists (select from staff_action where action_id = %(action_id)s)
),

day as (
    select slot_id
    from slot
    where office_id = %(office)s
        and service_date = %(service_date)s
        and exists (select from asked where refused is null)
),

cancelled as (
    update booking
    set state = 'CANCELLED', reason = 'DAY_CLOSED', ended_at = service_now()
    where booking.state = 'CONFIRMED'
        and booking.booking_id in (select booking_id from applicant join day using (slot_id))
    returning booking.slot_id, booking.party_size - booking.cancelled_people as people
),

freed as (
    update applicant set live = false from day where applicant.slot_id = day.slot_id and applicant.live
),

closed as (
    update slot
    set
        closed = true,
        taken = taken - coalesce((select sum(people) from cancelled where cancelled.slot_id = slot.slot_id), 0)
    from day
    where slot.slot_id = day.slot_id
)

insert into staff_action
select
    %(action_id)s, 'CLOSE_DATE', %(office)s, %(service_date)s, null, %(caller)s, %(staff)s, %(why)s,
    jsonb_build_object('slots', before),
    jsonb_build_object(
        'closed', refused is null, 'bookings', (select count(*) from cancelled),
        'people', (select coalesce(sum(people), 0) from cancelled)
    ),
    refused, service_now()
from asked
