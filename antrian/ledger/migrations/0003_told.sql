-- Finds the latest synced day at once. A Redis that lacks it was restored from an older copy.
create index day_done_synced on day_done (done_at) where synced;
