-- Returns places of a CONFIRMED booking before its day begins, or, for staff, before it is over; else changes nothing.
-- With a number, cancels only that person, and the others keep their numbers; cancelling the last one ends the booking.
-- Idempotent.
-- in: office, booking_id, number (or null: all remaining people), most (people cancelled one by one, or null: any number); action_id,
-- caller, staff, why (null for the booking's account); reclaimed (for a request that verified the person: leaves people who were
-- verified as they are).
-- Holds: P7, P10 (only live people return their places, and none of them is live afterwards).
with asked as (
    select
        booking.booking_id, slot_id, booking.first_number, booking.party_size, slot.service_date, slot.session,
        booking.party_size - booking.cancelled_people as people
    from slot
    join office using (office_id)
    join booking using (slot_id)
    where booking.booking_id = %(booking_id)s
        and booking.office_id = %(office)s
        and booking.state = 'CONFIRMED'
        and (%(number)s::int is null or %(most)s::int is null or booking.cancelled_people < %(most)s)
        and service_now() < day_begins(slot.service_date + (%(staff)s::text is not null)::int, office.time_zone)
    for update of booking
),

freed as (
    update applicant
    set live = false, cancelled_at = case when %(number)s::int is not null then service_now() end
    from asked
    where applicant.slot_id = asked.slot_id
        and applicant.number between first_number and first_number + party_size - 1
        and applicant.number = coalesce(%(number)s, applicant.number)
        and applicant.live
        and not (%(reclaimed)s and applicant.verified)
    returning applicant.number
),

gone as (
    select asked.*, freed.places, freed.places = asked.people as ends
    from asked
    cross join (select count(*) as places from freed) as freed
    where freed.places > 0
),

ended as (
    update booking
    set
        cancelled_people = booking.cancelled_people + (%(number)s is not null)::int,
        state = case when ends then 'CANCELLED' else booking.state end,
        ended_at = case when ends then service_now() end,
        reason = case
            when %(staff)s is null then case when not ends then booking.reason end
            when %(reclaimed)s then 'RECLAIMED'
            when ends then 'RELEASED_BY_OFFICE'
            else 'PERSON_CANCELLED_BY_OFFICE'
        end
    from gone
    where booking.booking_id = gone.booking_id
),

given_back as (
    update slot set taken = taken - gone.places from gone where slot.slot_id = gone.slot_id
)

insert into staff_action
select
    %(action_id)s,
    case when %(reclaimed)s then 'RECLAIM' when %(number)s is null then 'RELEASE' else 'CANCEL_PERSON' end,
    %(office)s, service_date, session, %(caller)s, %(staff)s, %(why)s,
    jsonb_build_object('booking_id', booking_id, 'state', 'CONFIRMED', 'people', people),
    jsonb_build_object(
        'state', case when ends then 'CANCELLED' else 'CONFIRMED' end, 'people', people - places,
        'numbers', (select jsonb_agg(number order by number) from freed)
    ),
    null, service_now()
from gone
where %(staff)s is not null
