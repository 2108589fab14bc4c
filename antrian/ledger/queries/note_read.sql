-- Records that staff read personal data. in: action_id, kind, office, service_date, session (or null), caller, staff, people (how
-- many were shown), by_nik (whether they were looked up by NIK).
insert into staff_action (action_id, kind, office_id, service_date, session, caller, staff, why, before, after, done_at)
values (
    %(action_id)s, %(kind)s, %(office)s, %(service_date)s, %(session)s, %(caller)s, %(staff)s, '', '{}',
    jsonb_build_object('people', %(people)s::int, 'by_nik', %(by_nik)s::boolean), service_now()
)
