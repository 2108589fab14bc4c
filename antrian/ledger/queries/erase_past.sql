-- Erases the personal data of some bookings of an office whose day is past: accounts, fingerprints, encrypted data. Random bytes
-- replace the applicant keys. States, numbers, times and places stay, so that statistics do. Records the action.
-- in: office, days (how long data are kept after the service day), most (bookings), action_id. out: the number of bookings.
-- Bookings that somebody still holds, or that bar somebody, stay as they are until later. The triggers of the journal make
-- each erasure a part of the hash chain (P17).
with old as materialized (
    select b.booking_id, b.slot_id, b.first_number, b.party_size
    from booking as b
    join slot as s using (slot_id)
    join office as o on o.office_id = b.office_id
    where b.office_id = %(office)s
        and b.ticket > coalesce((select erased_ticket from retention where office_id = %(office)s), 0)
        and b.account <> ''
        and b.state <> 'CONFIRMED'
        and s.service_date + %(days)s::int < (service_now() at time zone o.time_zone)::date
        and not exists (select from bar where bar.booking_id = b.booking_id and bar.ends_at > service_now())
        and not exists (
            select from applicant as a
            where a.slot_id = b.slot_id and a.number between b.first_number and b.first_number + b.party_size - 1 and a.live
        )
    order by b.ticket
    limit %(most)s
    for update of b
),

people as materialized (
    select
        a.slot_id, a.number, a.booking_id, a.applicant_key,
        substring(sha256(convert_to(gen_random_uuid()::text, 'UTF8')) for 16) as random_key
    from old
    join applicant as a on a.slot_id = old.slot_id and a.number between first_number and first_number + party_size - 1
),

bars_erased as (
    update bar
    set applicant_key = people.random_key
    from people
    where bar.booking_id = people.booking_id and bar.applicant_key = people.applicant_key
),

people_erased as (
    update applicant
    set encrypted = '', applicant_key = people.random_key
    from people
    where applicant.slot_id = people.slot_id and applicant.number = people.number
),

erased as (
    update booking set account = '', fingerprint = '' from old where booking.booking_id = old.booking_id
),

noted as (
    insert into staff_action
    select
        %(action_id)s, 'RETENTION', office_id, (service_now() at time zone time_zone)::date, null, 'antrian', 'retention',
        'retention.personal_data_days', '{}', jsonb_build_object('bookings', (select count(*) from old), 'days', %(days)s::int),
        null, service_now()
    from office
    where office_id = %(office)s and exists (select from old)
)

select count(*) from old
