-- The people of the bookings that a batch of a desk named or ended who do not hold these any more.
-- in: office, booking_ids, days. out: booking_id, applicant_key.
select a.booking_id, a.applicant_key
from applicant as a
where not a.live
    and a.slot_id in (
        select slot_id from slot where office_id = %(office)s and service_date = any(%(days)b::date[])
    )
union
select a.booking_id, a.applicant_key
from booking as b
join applicant as a
    on a.slot_id = b.slot_id
    and a.booking_id = b.booking_id
    and a.number between b.first_number and b.first_number + b.party_size - 1
where b.booking_id = any(%(booking_ids)b::uuid[]) and not a.live
