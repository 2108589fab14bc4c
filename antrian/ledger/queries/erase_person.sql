-- Erases one person's data: encrypted data, and the applicant key, which random bytes replace; also account and fingerprint of
-- bookings without other people whose data are kept. Records the action at each office concerned. in: applicant_key, staff, why.
-- out: the number of bookings of which the person's data were erased.
-- Places that the person holds stay, and those of a day until the day after it, when staff can still correct the attendance. Of
-- a booking with a bar in force, the applicant key and the account stay until the retention period is over.
with person as materialized (
    select
        a.slot_id, a.number, a.booking_id, b.office_id, o.time_zone,
        exists (
            select
            from bar
            where bar.booking_id = a.booking_id and bar.applicant_key = a.applicant_key and bar.ends_at > service_now()
                and bar.lifted_at is null
        ) as barred,
        substring(sha256(convert_to(gen_random_uuid()::text, 'UTF8')) for 16) as random_key
    from applicant as a
    join booking as b using (booking_id)
    join slot as s on s.slot_id = a.slot_id
    join office as o on o.office_id = b.office_id
    where a.applicant_key = %(applicant_key)s
        and not a.live
        and a.encrypted <> ''
        and (
            a.cancelled_at is not null
            or b.state = 'CANCELLED'
            or s.service_date + 1 < (service_now() at time zone o.time_zone)::date
        )
    for update of b
),

bars_erased as (
    update bar
    set applicant_key = person.random_key
    from person
    where not person.barred and bar.booking_id = person.booking_id and bar.applicant_key = %(applicant_key)s
),

people_erased as (
    update applicant
    set encrypted = '', applicant_key = case when person.barred then applicant.applicant_key else person.random_key end
    from person
    where applicant.slot_id = person.slot_id and applicant.number = person.number
),

bookings_erased as (
    update booking
    set account = '', fingerprint = ''
    from person
    where booking.booking_id = person.booking_id
        and not person.barred
        and booking.state <> 'CONFIRMED'
        and not exists (
            select
            from applicant as other
            where other.slot_id = booking.slot_id
                and other.number between booking.first_number and booking.first_number + booking.party_size - 1
                and other.number <> person.number
                and other.encrypted <> ''
        )
),

noted as (
    insert into staff_action (action_id, kind, office_id, service_date, caller, staff, why, before, after, done_at)
    select
        gen_random_uuid(), 'ERASE_PERSON', office_id, (service_now() at time zone time_zone)::date, 'antrian', %(staff)s, %(why)s,
        '{}', jsonb_build_object('bookings', count(*)), service_now()
    from person
    group by office_id, time_zone
)

select count(*) from person
