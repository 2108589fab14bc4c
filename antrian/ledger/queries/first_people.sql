-- Returns some of the people whose bookings were recorded first. out: booking_id, applicant_key, encrypted.
select booking_id, applicant_key, encrypted from applicant order by slot_id, number limit 10
