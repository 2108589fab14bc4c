-- Gives a CONFIRMED booking's places back before its day begins; else changes nothing. Safe to repeat.
-- in: office, booking_id. Holds: P7, P10 (only the update that finds it CONFIRMED gives places back).
with cancelled as (
    update booking
    set state = 'CANCELLED', ended_at = service_now()
    from slot
    join office using (office_id)
    where booking.booking_id = %(booking_id)s
        and booking.office_id = %(office)s
        and booking.state = 'CONFIRMED'
        and slot.slot_id = booking.slot_id
        and service_now() < day_begins(slot.service_date, office.time_zone)
    returning booking.slot_id, booking.first_number, booking.party_size
),

freed as (
    update applicant
    set live = false
    from cancelled
    where applicant.slot_id = cancelled.slot_id
        and applicant.number between first_number and first_number + party_size - 1
)

update slot
set taken = taken - cancelled.party_size
from cancelled
where slot.slot_id = cancelled.slot_id
