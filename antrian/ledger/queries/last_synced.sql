-- Returns when the latest synced day was finished, or the latest bar lifted, whichever is later; null if neither exists.
-- in: grace (interval; later lifts are left out, since their commands may not be settled yet). out: moment.
select greatest(
    (select max(done_at) from day_done where synced),
    (select max(lifted_at) from bar where lifted_at < service_now() - %(grace)s::interval)
)
