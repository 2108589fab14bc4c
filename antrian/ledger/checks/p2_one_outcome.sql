-- P2 every recorded ticket has exactly one outcome
-- out: examined (tickets), violations (tickets up to the last recorded one without a booking).
select coalesce(sum(l.last_ticket - l.skipped), 0)::bigint, coalesce(sum(l.last_ticket - l.skipped - b.tickets), 0)::bigint
from lane as l
cross join lateral (
    select count(*) as tickets from booking where office_id = l.office_id and ticket <= l.last_ticket
) as b
