-- The people of a booking, by number; the columns of roster.sql. in: booking_id.
select s.session, a.number, a.booking_id, a.applicant_key, a.sealed, b.state, a.present_at
from booking as b
join slot as s using (slot_id)
join applicant as a using (booking_id)
where b.booking_id = %(booking_id)s
order by a.number
