-- Changes a slot's quota before its day begins, and records the action; refused says why nothing changed. Idempotent.
-- in: office, action_id, caller, staff, why, service_date, session, quota, expected (or null).
-- Holds: P1 (the quota never falls below the taken places).
with asked as (
    select
        slot.slot_id, slot.quota, slot.taken,
        case
            when slot.closed then 'DAY_CLOSED'
            when service_now() >= day_begins(slot.service_date, office.time_zone) then 'DAY_BEGUN'
            when slot.quota not in (%(expected)s, %(quota)s) then 'QUOTA_CHANGED'
            when slot.taken > %(quota)s then 'QUOTA_BELOW_TAKEN'
        end as refused
    from slot
    join office using (office_id)
    where slot.office_id = %(office)s
        and slot.service_date = %(service_date)s
        and slot.session = %(session)s
        and not exists (select from staff_action where action_id = %(action_id)s)
),

changed as (
    update slot set quota = %(quota)s from asked where slot.slot_id = asked.slot_id and asked.refused is null
)

insert into staff_action
select
    %(action_id)s, 'SET_QUOTA', %(office)s, %(service_date)s, %(session)s, %(caller)s, %(staff)s, %(why)s,
    jsonb_build_object('quota', quota, 'taken', taken),
    jsonb_build_object('quota', case when refused is null then %(quota)s else quota end, 'taken', taken),
    refused, service_now()
from asked
