-- Returns all slots, to check a history. out: office_id, service_date, session, quota, taken, last_number, begins.
select
    s.office_id, s.service_date, s.session, s.quota, s.taken, s.last_number, day_begins(s.service_date, o.time_zone)
from slot as s
join office as o using (office_id)
