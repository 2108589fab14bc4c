-- Returns the recorded bookings of a turn. in: booking_ids. out: booking_id, office_id, ticket, state, reason.
select booking_id, office_id, ticket, state, reason
from booking
where booking_id = any(%(booking_ids)b::uuid[])
