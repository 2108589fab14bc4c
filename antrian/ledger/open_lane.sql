-- Readies the ledger for a lane that Redis does not know: raises the token above every one issued before, so that no
-- drainer of a lost Redis can write any more. in: office, token. out: token, last_ticket, epoch.
update lane
set token = greatest(token + 1, %(token)s), epoch = epoch + 1
where office_id = %(office)s
returning token, last_ticket, epoch
