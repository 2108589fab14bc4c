-- Returns the bars in force, and whether their day is synced to Redis. out: applicant_key, booking_id, synced.
select bar.applicant_key, bar.booking_id, d.synced
from bar
join booking as b using (booking_id)
join slot as s using (slot_id)
join day_done as d on d.office_id = s.office_id and d.service_date = s.service_date
where bar.lifted_at is null and bar.ends_at > service_now()
