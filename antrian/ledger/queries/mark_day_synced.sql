-- Marks a day as synced to Redis. in: office, service_date.
update day_done
set synced = true
where office_id = %(office)s and service_date = %(service_date)s
