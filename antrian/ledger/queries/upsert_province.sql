-- Adds or changes a province. in: code, name_id, name_en, nik_code, time_zone.
insert into province
values (%(code)s, %(name_id)s, %(name_en)s, %(nik_code)s, %(time_zone)s)
on conflict (province_code) do update set
    name_id = excluded.name_id,
    name_en = excluded.name_en,
    nik_code = excluded.nik_code,
    time_zone = excluded.time_zone
