-- Returns people of the bookings of a batch of commands who no longer hold them. Leaves out barred people, whom
-- workers/day_close.py releases and bars in one step.
-- in: office, booking_ids, days. out: booking_id, applicant_key.
select a.booking_id, a.applicant_key
from applicant as a
where not a.live
    and a.slot_id in (
        select slot_id from slot where office_id = %(office)s and service_date = any(%(days)b::date[])
    )
    and not exists (
        select from bar
        where bar.applicant_key = a.applicant_key and bar.booking_id = a.booking_id and bar.lifted_at is null
    )
union
select a.booking_id, a.applicant_key
from booking as b
join applicant as a
    on a.slot_id = b.slot_id
    and a.number between b.first_number and b.first_number + b.party_size - 1
where b.booking_id = any(%(booking_ids)b::uuid[])
    and not a.live
    and not exists (
        select from bar
        where bar.applicant_key = a.applicant_key and bar.booking_id = a.booking_id and bar.lifted_at is null
    )
