-- Checks in people of a party, and records the action of staff. People who are checked in already stay unchanged: idempotent.
-- in: office, booking_id, numbers, action_id, caller, staff. Runs after find_booking.sql, which locks the booking.
with arrived as (
    update applicant
    set present_at = service_now(), live = false
    from booking
    where booking.booking_id = %(booking_id)s
        and applicant.booking_id = booking.booking_id
        and applicant.slot_id = booking.slot_id
        and number = any(%(numbers)s::int[])
        and present_at is null
    returning number
),

attended as (
    update booking
    set state = 'ATTENDED', ended_at = service_now()
    where booking_id = %(booking_id)s and state = 'CONFIRMED' and exists (select from arrived)
)

insert into staff_action
select
    %(action_id)s, 'CHECK_IN', %(office)s, slot.service_date, slot.session, %(caller)s, %(staff)s, '',
    jsonb_build_object('booking_id', booking_id, 'state', booking.state),
    jsonb_build_object('state', 'ATTENDED', 'present', (select jsonb_agg(number order by number) from arrived)),
    null, service_now()
from booking
join slot using (slot_id)
where booking.booking_id = %(booking_id)s and exists (select from arrived)
