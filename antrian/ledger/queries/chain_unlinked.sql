-- Returns what the chain does not cover yet. in: entry (the last entry of the journal that may be covered).
-- out: office_id (null: the journal), first, last.
select lane.office_id, coalesce(done.last, 0) + 1, lane.last_ticket
from lane
left join (select office_id, max(last) as last from link group by office_id) as done using (office_id)
where lane.last_ticket > coalesce(done.last, 0)
union all
select null, coalesce(max(last), 0) + 1, %(entry)s from link where office_id is null having coalesce(max(last), 0) < %(entry)s
order by 1 nulls last
