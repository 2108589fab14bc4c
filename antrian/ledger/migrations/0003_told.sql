-- To see at once whether Redis has been told of all days that the ledger noted as synced: one that went back in time was not.
create index day_done_synced on day_done (done_at) where synced;
