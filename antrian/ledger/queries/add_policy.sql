-- Adds a version of the policy after the newest. in: content, staff, why. Under a lock of the table, so that two have two
-- numbers.
insert into policy_version (version, content, applied_at, staff, why)
select coalesce(max(version), 0) + 1, %(content)s, service_now(), %(staff)s, %(why)s
from policy_version
