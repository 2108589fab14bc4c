-- Opens a lane that Redis does not know, or that is rebuilt: begins a new epoch, whose tokens are higher than all that were
-- ever issued (2^32 per epoch), so that no consumer of a lost Redis can write any more, and skips tickets that it may have
-- issued.
-- in: office, epoch (the lane's when this opening began; another consumer may have opened it since), skip.
-- out: token, last_ticket, epoch, last_command.
update lane
set
    token = (epoch + 1)::bigint << 32, epoch = epoch + 1, last_ticket = last_ticket + %(skip)s,
    skipped = skipped + %(skip)s
where office_id = %(office)s and epoch = %(epoch)s
returning token, last_ticket, epoch, last_command
