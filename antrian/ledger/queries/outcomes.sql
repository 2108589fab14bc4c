-- What the ledger says of the bookings of a turn, after record.sql.
-- in: booking_ids. out: booking_id, office_id, ticket, state, reason.
select booking_id, office_id, ticket, state, reason
from booking
where booking_id = any(%(booking_ids)b::uuid[])
