-- The people of the bookings that a batch of a desk named or ended who do not hold these any more.
-- in: office, booking_ids, days. out: booking_id, applicant_key.
select a.booking_id, a.applicant_key
from applicant as a
where not a.live
    and (
        a.booking_id = any(%(booking_ids)b::uuid[])
        or a.slot_id in (
            select slot_id from slot where office_id = %(office)s and service_date = any(%(days)b::date[])
        )
    )
