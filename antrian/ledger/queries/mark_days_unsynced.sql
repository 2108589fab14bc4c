-- Has Redis synced again of the days whose bars may still hold. in: since (service_date). Holds: P10 on a Redis that went back.
update day_done
set synced = false
where synced and service_date >= %(since)s
