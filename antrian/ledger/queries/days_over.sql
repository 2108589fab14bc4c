-- Returns some of the days that are over at their office and not finished, in order. in: waiting (offices to skip).
-- out: office_id, service_date, time_zone.
-- Days are finished in order, so only those after the last finished one are read.
select office.office_id, day.service_date, office.time_zone
from office
cross join lateral (
    select distinct slot.service_date
    from slot
    where slot.office_id = office.office_id
        and slot.service_date > coalesce(
            (select max(service_date) from day_done where office_id = office.office_id), '-infinity'
        )
        and service_now() >= day_begins(slot.service_date + 1, office.time_zone)
) as day
where office.office_id <> all(%(waiting)s::text[])
order by day.service_date, office.office_id
limit 50
