-- Returns a page of the bars from an office's missed days that have not ended yet, the newest day first.
-- in: office, since (service_date), applicant_key, booking_id and number (each null: all), after_day, after_session and
-- after_number (of the last bar of the previous page, or null), most.
-- out: service_date, session, number, booking_id, applicant_key, encrypted, last_day, lifted_at.
select s.service_date, s.session, a.number, a.booking_id, a.applicant_key, a.encrypted, bar.last_day, bar.lifted_at
from slot as s
join applicant as a using (slot_id)
join bar on bar.applicant_key = a.applicant_key and bar.booking_id = a.booking_id
where s.office_id = %(office)s
    and s.service_date >= %(since)s
    and bar.ends_at > service_now()
    and (%(applicant_key)s::bytea is null or a.applicant_key = %(applicant_key)s)
    and (%(booking_id)s::uuid is null or a.booking_id = %(booking_id)s and a.number = %(number)s)
    and (
        %(after_day)s::date is null
        or s.service_date < %(after_day)s
        or s.service_date = %(after_day)s and s.session < %(after_session)s
        or s.service_date = %(after_day)s and s.session = %(after_session)s and a.number > %(after_number)s
    )
order by s.service_date desc, s.session desc, a.number
limit %(most)s
