-- To see at once whether Redis has been told of all days that the ledger noted as told: one that went back in time was not.
create index day_done_told on day_done (done_at) where told;
