-- Everybody who holds a live booking. out: booking_id, applicant_key, sealed.
select booking_id, applicant_key, sealed from applicant where live
