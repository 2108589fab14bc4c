-- P14 no unencrypted NIK in the ledger
-- in: nik (the pattern of text.py). out: examined (texts), violations (texts with a NIK, in a row or in groups). UUIDs are
-- skipped, since their groups may match. queries/encrypted_niks.sql searches the encrypted data.
with texts as (
    select caller as text from booking
    union all
    select account from booking
    union all
    select caller from staff_action
    union all
    select staff from staff_action
    union all
    select why from staff_action
    union all
    select staff from policy_version
    union all
    select why from policy_version
),

judged as (
    select
        text ~ %(nik)s
        and text !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' as is_violation
    from texts
)

select count(*), count(*) filter (where is_violation) from judged
