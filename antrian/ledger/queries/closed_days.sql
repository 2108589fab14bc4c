-- Returns closed days, today or later, that have service under a policy. in: weekdays (of service, Monday is 0), holidays.
-- out: service_date, number of offices that closed it.
select slot.service_date, count(distinct slot.office_id)
from slot
join office using (office_id)
where slot.closed
    and service_now() < day_begins(slot.service_date + 1, office.time_zone)
    and slot.service_date <> all(%(holidays)s::date[])
    and extract(isodow from slot.service_date)::int - 1 = any(%(weekdays)s::int[])
group by slot.service_date
order by slot.service_date
