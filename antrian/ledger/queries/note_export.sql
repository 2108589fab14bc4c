-- Records, at each office concerned, that a person's data were exported. in: applicant_key, staff, why.
insert into staff_action (action_id, kind, office_id, service_date, caller, staff, why, before, after, done_at)
select
    gen_random_uuid(), 'EXPORT_PERSON', o.office_id, (service_now() at time zone o.time_zone)::date, 'antrian', %(staff)s,
    %(why)s, '{}', jsonb_build_object('bookings', count(*)), service_now()
from applicant as a
join booking as b using (booking_id)
join office as o using (office_id)
where a.applicant_key = %(applicant_key)s
group by o.office_id
