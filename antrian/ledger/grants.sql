-- What each role may do. `antrian migrate` applies it after the migrations, as the owner of the tables; see roles.sql.
-- Nothing is ever deleted or truncated by a program, and triggers belong to the owner. What is not listed is not allowed.

do $$
begin
    execute format('revoke all on database %I from public', current_database());
    execute format('revoke all on database %I from antrian_server, antrian_worker, antrian_auditor', current_database());
    execute format('grant connect on database %I to antrian_server, antrian_worker, antrian_auditor', current_database());
end $$;
revoke all on schema public from public, antrian_server, antrian_worker, antrian_auditor;
grant usage on schema public to antrian_server, antrian_worker, antrian_auditor;
revoke all on all tables in schema public from public, antrian_server, antrian_worker, antrian_auditor;
revoke all on all sequences in schema public from public, antrian_server, antrian_worker, antrian_auditor;
revoke all on all functions in schema public from public, antrian_server, antrian_worker, antrian_auditor;
grant execute on all functions in schema public to antrian_server, antrian_worker, antrian_auditor;

-- The auditor reads everything.
grant select on all tables in schema public to antrian_auditor;

-- The server. It has the keys, so it writes their check values, once. The triggers of the journal run as the owner.
grant select on
    applicant, bar, booking, clock, day_done, key_check_value, key_pair, lane, office, policy_version, province, slot, staff_action
    to antrian_server;
grant insert on key_check_value, key_pair, staff_action to antrian_server;
grant update (state, ended_at) on booking to antrian_server;
grant update (encrypted, corrected_at, present_at, live) on applicant to antrian_server;
grant update (retired_at) on office to antrian_server;

-- The worker. The hash chain digests whole rows, so it reads encrypted data, for which it has no key; retention erases them.
grant select on
    applicant, bar, booking, clock, day_done, journal, lane, link, office, policy_version, province, retention, slot, staff_action
    to antrian_worker;
grant insert on applicant, bar, booking, day_done, link, retention, slot, staff_action to antrian_worker;
grant update (token, last_ticket, last_command, epoch, skipped) on lane to antrian_worker;
grant update (quota, taken, last_number, closed) on slot to antrian_worker;
grant update (state, reason, ended_at, cancelled_people, account, fingerprint) on booking to antrian_worker;
grant update (live, present_at, cancelled_at, encrypted, applicant_key) on applicant to antrian_worker;
grant update (lifted_at, applicant_key) on bar to antrian_worker;
grant update (erased_ticket) on retention to antrian_worker;
grant update (synced) on day_done to antrian_worker;
