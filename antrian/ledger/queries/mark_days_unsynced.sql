-- Marks days whose bars may still be in force as not synced. in: since (service_date). Holds: P10 after Redis was restored from
-- an older copy.
update day_done
set synced = false
where synced and service_date >= %(since)s
