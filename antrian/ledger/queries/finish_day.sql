-- Finishes a day that is over: CONFIRMED bookings become NO_SHOW, and their people who did not come are barred. Idempotent.
-- in: office, service_date, last_day, ends_at (of the bar), verified_only (whether only verified people are barred). Runs after lock_lane.sql.
-- Holds: P7, P10 (day_done_once, bar_once). A closed day has nobody who could be barred.
with day as (
    select slot_id
    from slot
    where office_id = %(office)s
        and service_date = %(service_date)s
        and not exists (select from day_done where office_id = %(office)s and service_date = %(service_date)s)
),

missed as (
    update booking
    set state = 'NO_SHOW', ended_at = service_now()
    where booking.state = 'CONFIRMED'
        and booking.booking_id in (select booking_id from applicant join day using (slot_id))
),

absent as (
    update applicant
    set live = false
    from day
    where applicant.slot_id = day.slot_id and applicant.live
    returning applicant.applicant_key, applicant.booking_id, applicant.verified
),

barred as (
    insert into bar (applicant_key, booking_id, last_day, ends_at)
    select applicant_key, booking_id, %(last_day)s, %(ends_at)s
    from absent
    where verified or not %(verified_only)s
    returning applicant_key
)

insert into day_done (office_id, service_date, done_at, no_shows, verified_only)
select %(office)s, %(service_date)s, service_now(), (select count(*) from barred), %(verified_only)s
on conflict do nothing
