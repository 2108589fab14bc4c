-- A lane as the ledger has it. in: office. out: token, last_ticket, last_desk.
select token, last_ticket, last_desk
from lane
where office_id = %(office)s
