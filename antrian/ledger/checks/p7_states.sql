-- P7 outcomes came after the request, and the guard of the states stands
-- out: examined (bookings), violations (decided before accepted; one more when the trigger is gone or off).
select
    (select count(*) from booking),
    (select count(*) from booking where decided_at < accepted_at - interval '1 second')
    + (
        select 1 - count(*)
        from pg_trigger
        where tgrelid = 'booking'::regclass and tgname = 'booking_moves_forward' and tgenabled = 'O'
    )
