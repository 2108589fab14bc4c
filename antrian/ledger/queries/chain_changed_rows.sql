-- Compares rows with the journal's latest entries of them. The session's time zone must be UTC.
-- out: examined (rows), violations (rows that differ, that are missing, or that the journal lacks although it has all of their
-- table), first (the first of them, or null).
with latest as (
    select distinct on (kind, row_id) kind, row_id, entry, after from journal order by kind, row_id, entry desc
),

found as (
    select 'booking' as kind, booking_id::text as row_id, to_jsonb(booking) as content
    from booking
    where booking_id::text in (select row_id from latest where kind = 'booking')
    union all
    select 'applicant', concat(slot_id, ' ', number), to_jsonb(applicant)
    from applicant
    where concat(slot_id, ' ', number) in (select row_id from latest where kind = 'applicant')
    union all
    select 'bar', concat(booking_id, ' ', applicant_key), to_jsonb(bar) from bar
    union all
    select 'staff_action', action_id::text, to_jsonb(staff_action) from staff_action
    union all
    select 'policy_version', version::text, to_jsonb(policy_version) from policy_version
),

compared as (
    select
        kind, row_id, entry,
        sha256(convert_to(jsonb_strip_nulls(content)::text, 'UTF8')) is not distinct from after as agrees
    from latest
    full join found using (kind, row_id)
)

select
    count(*), count(*) filter (where not agrees),
    (
        select kind || ' ' || row_id || case when entry is null then ', which the journal lacks' else '' end
        from compared
        where not agrees
        order by entry
        limit 1
    )
from compared
