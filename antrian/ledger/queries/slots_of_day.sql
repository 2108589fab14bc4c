-- Returns the slots of an office's day. in: office, service_date. out: session.
select session from slot where office_id = %(office)s and service_date = %(service_date)s
