-- A lane as the ledger has it. in: office. out: token, last_ticket.
select token, last_ticket
from lane
where office_id = %(office)s
