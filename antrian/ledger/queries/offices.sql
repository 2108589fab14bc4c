-- Returns all offices, by id. out: the fields of booking.Office, in its order.
select
    office_id, name, office_class, city, province_code, time_zone, latitude, longitude, daily_quota, address,
    morning_percent, retired_at is not null as retired
from office
order by office_id
