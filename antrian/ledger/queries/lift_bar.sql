-- Ends one person's bar from one booking, and records the action; refused says why nothing changed. Idempotent.
-- in: office, action_id, caller, staff, why, booking_id, number (the person's queue number). Holds: P10.
with asked as (
    select
        a.applicant_key, a.booking_id, s.service_date, s.session, bar.last_day, bar.lifted_at is not null as lifted,
        case when bar.booking_id is null then 'BAR_NOT_FOUND' end as refused
    from booking as b
    join slot as s using (slot_id)
    join applicant as a on a.slot_id = b.slot_id and a.booking_id = b.booking_id and a.number = %(number)s
    left join bar on bar.applicant_key = a.applicant_key and bar.booking_id = a.booking_id and bar.ends_at > service_now()
    where b.booking_id = %(booking_id)s
        and b.office_id = %(office)s
        and not exists (select from staff_action where action_id = %(action_id)s)
),

lifted as (
    update bar
    set lifted_at = service_now()
    from asked
    where bar.applicant_key = asked.applicant_key and bar.booking_id = asked.booking_id and not asked.lifted
        and asked.refused is null
)

insert into staff_action
select
    %(action_id)s, 'LIFT_BAR', %(office)s, service_date, session, %(caller)s, %(staff)s, %(why)s,
    jsonb_build_object('booking_id', booking_id, 'number', %(number)s::int, 'last_day', last_day, 'lifted', lifted),
    jsonb_build_object('lifted', refused is null), refused, service_now()
from asked
