-- Notes that Redis knows of a day's people. in: office, service_date.
update day_done
set synced = true
where office_id = %(office)s and service_date = %(service_date)s
