-- Returns the bookings that a rebuilt Redis must have: those that people hold, and those of days whose requests may still be
-- remembered. in: since (service_date). out: booking_id, fingerprint, office_id, ticket, service_date, caller, account, people
-- (who hold it, concatenated: applicant key, and V for a verified person or B).
select
    b.booking_id, b.fingerprint, b.office_id, b.ticket, s.service_date, b.caller, b.account, coalesce(a.people, ''::bytea)
from booking as b
join slot as s using (slot_id)
left join (
    select
        booking_id,
        string_agg(applicant_key || case when verified then 'V'::bytea else 'B'::bytea end, ''::bytea order by number) as people
    from applicant
    where live
    group by booking_id
) as a using (booking_id)
where s.service_date >= %(since)s or b.state in ('CONFIRMED', 'ATTENDED') and a.people is not null
