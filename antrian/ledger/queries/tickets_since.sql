-- The recorded tickets of an office from one on. in: office, first. out: ticket, booking_id.
select ticket, booking_id
from booking
where office_id = %(office)s and ticket >= %(first)s
