-- Returns everybody who holds a live booking. out: booking_id, applicant_key, encrypted.
select booking_id, applicant_key, encrypted from applicant where live
