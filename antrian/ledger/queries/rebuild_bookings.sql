-- Returns the bookings that a rebuilt Redis must have: those that people hold, and those of days whose requests may still be
-- remembered. in: since (service_date). out: booking_id, fingerprint, office_id, ticket, service_date, caller, account, keys
-- (of the people who hold it, concatenated).
select
    b.booking_id, b.fingerprint, b.office_id, b.ticket, s.service_date, b.caller, b.account, coalesce(a.keys, ''::bytea)
from booking as b
join slot as s using (slot_id)
left join (
    select booking_id, string_agg(applicant_key, ''::bytea order by number) as keys
    from applicant
    where live
    group by booking_id
) as a using (booking_id)
where s.service_date >= %(since)s or b.state in ('CONFIRMED', 'ATTENDED') and a.keys is not null
