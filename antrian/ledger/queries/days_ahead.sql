-- Returns how many days of offices have slots and are not finished.
select count(distinct (slot.office_id, slot.service_date))
from slot
where slot.service_date > coalesce(
    (select max(service_date) from day_done where day_done.office_id = slot.office_id), '-infinity'
)
