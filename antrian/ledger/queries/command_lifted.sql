-- Returns when the latest bar of the bookings of a batch of commands was lifted, null if none was. in: booking_ids.
-- out: lifted_at.
select max(lifted_at) from bar where booking_id = any(%(booking_ids)b::uuid[])
