-- Returns a page of the people of an office's day, by session (the morning first) and queue number.
-- in: office, service_date, session (or null), after_session and after_number (of the last person of the previous page, or
-- null), most.
-- out: session, number, booking_id, applicant_key, encrypted, state, present_at, verified.
select s.session, a.number, a.booking_id, a.applicant_key, a.encrypted, b.state, a.present_at, a.verified
from slot as s
join applicant as a using (slot_id)
join booking as b using (booking_id)
where s.office_id = %(office)s
    and s.service_date = %(service_date)s
    and (%(session)s::text is null or s.session = %(session)s)
    and b.state <> 'CANCELLED'
    and a.cancelled_at is null
    and (
        %(after_session)s::text is null
        or (s.session = %(after_session)s and a.number > %(after_number)s)
        or s.session < %(after_session)s
    )
order by s.session desc, a.number
limit %(most)s
