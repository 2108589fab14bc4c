-- Creates the slots that an office lacks on the given days. Existing slots stay unchanged.
-- in: office, days (date[]), morning, afternoon (places).
insert into slot (office_id, service_date, session, quota)
select %(office)s, day, session, quota
from unnest(%(days)b::date[]) as day
cross join (values ('MORNING', %(morning)s::int), ('AFTERNOON', %(afternoon)s::int)) as split (session, quota)
on conflict on constraint slot_once do nothing
