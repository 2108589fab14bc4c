-- Adds or changes an office. Existing slots keep their quota. in: the fields of booking.Office, time_zone by name.
with upserted as (
    insert into office
    values (
        %(office_id)s, %(name)s, %(office_class)s, %(city)s, %(province_code)s, %(time_zone)s, %(latitude)s,
        %(longitude)s, %(daily_quota)s, %(address)s, %(morning_percent)s
    )
    on conflict (office_id) do update set
        name = excluded.name,
        office_class = excluded.office_class,
        city = excluded.city,
        province_code = excluded.province_code,
        time_zone = excluded.time_zone,
        latitude = excluded.latitude,
        longitude = excluded.longitude,
        daily_quota = excluded.daily_quota,
        address = excluded.address,
        morning_percent = excluded.morning_percent
    returning office_id
)

insert into lane (office_id)
select office_id from upserted
on conflict do nothing
