-- Returns the changes of slots by staff, in order, to check a history. Closing a day changes both of its slots.
-- out: office_id, service_date, session, done_at, quota before, quota after, whether it closed the day.
select
    s.office_id, s.service_date, s.session, a.done_at, coalesce((a.before ->> 'quota')::int, 0),
    coalesce((a.after ->> 'quota')::int, 0), a.kind = 'CLOSE_DATE'
from staff_action as a
join slot as s
    on s.office_id = a.office_id and s.service_date = a.service_date and (a.session is null or a.session = s.session)
where a.kind in ('SET_QUOTA', 'CLOSE_DATE') and a.refused is null
order by a.done_at
