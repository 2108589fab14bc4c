-- P7 outcomes come after their requests, and the trigger that guards states is active
-- out: examined (bookings), violations (bookings decided before they were accepted, plus one if the trigger is missing or off).
select
    (select count(*) from booking),
    (select count(*) from booking where decided_at < accepted_at - interval '1 second')
    + (
        select 1 - count(*)
        from pg_trigger
        where tgrelid = 'booking'::regclass and tgname = 'booking_moves_forward' and tgenabled = 'O'
    )
