-- Returns days that have slots but no service under a policy, are not finished, and are not closed or still have people.
-- in: weekdays (of service, Monday is 0), holidays. out: office_id, service_date, live (bookings whose people are expected),
-- people, over (whether the day is over at the office), closings (how often its closing was recorded).
-- Days are finished in order, so only those after the last finished one are read.
with unserved as (
    select office.office_id, office.time_zone, slot.service_date, slot.slot_id, slot.closed
    from office
    join slot using (office_id)
    where slot.service_date > coalesce(
        (select max(service_date) from day_done where day_done.office_id = office.office_id), '-infinity'
    )
    and (
        slot.service_date = any(%(holidays)s::date[])
        or extract(isodow from slot.service_date)::int - 1 <> all(%(weekdays)s::int[])
    )
)

select
    unserved.office_id, unserved.service_date,
    count(distinct applicant.booking_id), count(applicant.booking_id),
    service_now() >= day_begins(unserved.service_date + 1, unserved.time_zone),
    (
        select count(*)
        from staff_action as a
        where a.office_id = unserved.office_id and a.service_date = unserved.service_date and a.kind = 'CLOSE_DATE'
    )
from unserved
left join applicant on applicant.slot_id = unserved.slot_id and applicant.live
group by unserved.office_id, unserved.service_date, unserved.time_zone
having not bool_and(unserved.closed) or count(applicant.booking_id) > 0
order by unserved.service_date, unserved.office_id
