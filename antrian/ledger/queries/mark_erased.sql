-- Notes up to which ticket all bookings of an office are erased, so that the next run begins there. in: office.
insert into retention (office_id, erased_ticket)
select lane.office_id, coalesce(first.ticket - 1, lane.last_ticket)
from lane
cross join lateral (
    select min(ticket) as ticket
    from booking
    where booking.office_id = lane.office_id
        and ticket > coalesce((select erased_ticket from retention where office_id = lane.office_id), 0)
        and account <> ''
) as first
where lane.office_id = %(office)s
on conflict (office_id) do update set erased_ticket = excluded.erased_ticket
