-- The latest of what Redis was told of people after their day: when a day was done, or a bar lifted; null when there is
-- nothing. in: grace, for which a desk may be served before a lift counts as synced. out: moment.
select greatest(
    (select max(done_at) from day_done where synced),
    (select max(lifted_at) from bar where lifted_at < service_now() - %(grace)s::interval)
)
