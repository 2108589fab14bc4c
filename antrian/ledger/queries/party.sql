-- Returns the people of a booking who have not cancelled, by queue number, with the columns of roster.sql. in: booking_id.
select s.session, a.number, a.booking_id, a.applicant_key, a.encrypted, b.state, a.present_at, a.verified
from booking as b
join slot as s using (slot_id)
join applicant as a
    on a.slot_id = b.slot_id
    and a.number between b.first_number and b.first_number + b.party_size - 1
where b.booking_id = %(booking_id)s and a.cancelled_at is null
order by a.number
