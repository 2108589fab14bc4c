-- What a rebuilt Redis has to know of bookings: those that somebody holds, and those of days whose requests may still be
-- known. in: since (service_date). out: booking_id, fingerprint, office_id, ticket, service_date, caller, account, keys
-- of the people who hold it, joined.
select
    b.booking_id, b.fingerprint, b.office_id, b.ticket, s.service_date, b.caller, b.account,
    coalesce(
        (
            select string_agg(a.applicant_key, ''::bytea order by a.number)
            from applicant as a
            where a.booking_id = b.booking_id and a.live
        ), ''::bytea
    )
from booking as b
join slot as s using (slot_id)
where s.service_date >= %(since)s or b.state in ('CONFIRMED', 'ATTENDED')
    and exists (select from applicant as a where a.booking_id = b.booking_id and a.live)
