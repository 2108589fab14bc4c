-- Adds a version of the policy after the newest. in: content, staff, why. The caller locks the table, so that concurrent
-- versions get different numbers.
insert into policy_version (version, content, applied_at, staff, why)
select coalesce(max(version), 0) + 1, %(content)s, service_now(), %(staff)s, %(why)s
from policy_version
