-- Returns the slots that a batch of commands may have changed, as they are now. in: office, booking_ids, days.
-- out: service_date, session, quota, taken, last_number, closed.
select service_date, session, quota, taken, last_number, closed
from slot
where office_id = %(office)s
    and (
        service_date = any(%(days)b::date[])
        or slot_id in (select slot_id from booking where booking_id = any(%(booking_ids)b::uuid[]))
    )
