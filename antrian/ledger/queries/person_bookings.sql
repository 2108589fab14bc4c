-- Returns what the ledger has about a person's places, oldest first. in: applicant_key.
-- out: booking_id, office_id, service_date, session, number, state, reason, caller, account, accepted_at, decided_at, ended_at,
-- present_at, cancelled_at, corrected_at, encrypted, live.
select
    b.booking_id, b.office_id, s.service_date, s.session, a.number, b.state, b.reason, b.caller, b.account, b.accepted_at,
    b.decided_at, b.ended_at, a.present_at, a.cancelled_at, a.corrected_at, a.encrypted, a.live
from applicant as a
join booking as b using (booking_id)
join slot as s on s.slot_id = a.slot_id
where a.applicant_key = %(applicant_key)s
order by b.accepted_at
