-- P1 sold places are within the quota and counted correctly
-- out: examined (slots), violations (slots whose recorded places exceed the quota or differ from `taken`).
select count(*), count(*) filter (where sold > quota or sold <> taken)
from (
    select
        s.quota, s.taken,
        coalesce(sum(b.party_size - b.cancelled_people) filter (where b.state not in ('REJECTED', 'CANCELLED')), 0) as sold
    from slot as s
    left join booking as b using (slot_id)
    group by s.slot_id
) as counted
