-- Replaces a person's encrypted data, if they are still what was read. An account may do so once, for a CONFIRMED booking,
-- before its day begins; staff may for a CONFIRMED or ATTENDED one until its day is over.
-- in: booking_id, number, encrypted_before, encrypted; action_id, caller, staff, why (null for the booking's account), before and
-- after (JSON with masked names, for staff_action).
-- out: state of the booking, begun (whether its day has begun, or, for staff, is over), corrected (whether the account corrected
-- the name before), written.
with asked as (
    select
        booking.booking_id, booking.office_id, booking.state, slot.slot_id, slot.service_date, slot.session,
        service_now() >= day_begins(slot.service_date + (%(staff)s::text is not null)::int, office.time_zone) as begun,
        applicant.corrected_at is not null as corrected
    from booking
    join slot using (slot_id)
    join office on office.office_id = booking.office_id
    join applicant on applicant.slot_id = slot.slot_id and applicant.booking_id = booking.booking_id
    where booking.booking_id = %(booking_id)s and applicant.number = %(number)s
),

written as (
    update applicant
    set
        encrypted = %(encrypted)s,
        corrected_at = case when %(staff)s::text is null then service_now() else applicant.corrected_at end
    from asked
    where applicant.slot_id = asked.slot_id
        and applicant.number = %(number)s
        and applicant.encrypted = %(encrypted_before)s
        and applicant.cancelled_at is null
        and not begun
        and case when %(staff)s::text is null then state = 'CONFIRMED' and not corrected else state in ('CONFIRMED', 'ATTENDED') end
    returning applicant.number
),

noted as (
    insert into staff_action
    select
        %(action_id)s, 'CORRECT_NAME', office_id, service_date, session, %(caller)s, %(staff)s, %(why)s, %(before)s::jsonb,
        %(after)s::jsonb, null, service_now()
    from asked
    where %(staff)s::text is not null and exists (select from written)
)

select state, begun, corrected, exists (select from written) from asked
