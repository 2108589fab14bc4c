-- P3 queue numbers of a slot rise in ticket order
-- out: examined (bookings with numbers), violations (bookings whose number is below that of an earlier ticket).
select count(*), count(*) filter (where first_number < highest_before)
from (
    select
        first_number,
        max(first_number) over (
            partition by slot_id order by ticket rows between unbounded preceding and 1 preceding
        ) as highest_before
    from booking
    where first_number is not null
) as ordered
