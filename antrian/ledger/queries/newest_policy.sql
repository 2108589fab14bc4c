-- The version of the policy that is in force. out: version, content; no row in a ledger that has none yet.
select version, content
from policy_version
order by version desc
limit 1
