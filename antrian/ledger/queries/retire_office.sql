-- Retires or reopens an office, and records the action; changes nothing if it is retired or open already. Idempotent.
-- in: office, retired (the new value), action_id, caller, staff, why.
with changed as (
    update office
    set retired_at = case when %(retired)s then service_now() end
    where office_id = %(office)s and (retired_at is not null) <> %(retired)s
    returning office_id, (service_now() at time zone time_zone)::date as today
)

insert into staff_action
select
    %(action_id)s, case when %(retired)s then 'RETIRE_OFFICE' else 'REOPEN_OFFICE' end, office_id, today, null,
    %(caller)s, %(staff)s, %(why)s, jsonb_build_object('retired', not %(retired)s),
    jsonb_build_object('retired', %(retired)s), null, service_now()
from changed
