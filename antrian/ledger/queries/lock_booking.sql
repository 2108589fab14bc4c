-- Locks a booking against check-ins, so that the next statement sees all earlier ones. in: booking_id.
select from booking where booking_id = %(booking_id)s for update
