-- Returns the policy in force. out: version, content; no row if the ledger has none yet.
select version, content
from policy_version
order by version desc
limit 1
