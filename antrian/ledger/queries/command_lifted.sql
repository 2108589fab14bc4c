-- When the latest bar was lifted of the bookings that a batch of commands named; null when none was. in: booking_ids.
-- out: lifted_at.
select max(lifted_at) from bar where booking_id = any(%(booking_ids)b::uuid[])
