-- More ways back: staff lift bars, excuse no-shows, undo check-ins and record late attendance.

-- lifted_at: when staff ended the bar before its time. The row stays, so that the day cannot bar the person again (P10).
alter table bar add column lifted_at timestamptz;
create index bar_by_booking on bar (booking_id);

alter table booking drop constraint booking_state_check;
alter table booking add constraint booking_state_check
    check (state in ('CONFIRMED', 'REJECTED', 'CANCELLED', 'ATTENDED', 'NO_SHOW', 'EXCUSED'));

-- P7: the only transitions between states. Undoing a check-in on its day leads back to CONFIRMED.
create or replace function booking_moves_forward() returns trigger language plpgsql as $$
begin
    if old.state is distinct from new.state and not (
        old.state = 'CONFIRMED' and new.state in ('CANCELLED', 'ATTENDED', 'NO_SHOW')
        or old.state = 'ATTENDED' and new.state = 'CONFIRMED'
        or old.state = 'NO_SHOW' and new.state in ('ATTENDED', 'EXCUSED')
    ) then
        raise exception 'booking %: no way from % to %', old.booking_id, old.state, new.state
            using errcode = 'check_violation', constraint = 'booking_moves_forward';
    end if;
    return new;
end $$;

alter table staff_action drop constraint staff_action_kind_check;
alter table staff_action add constraint staff_action_kind_check check (kind in (
    'CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE', 'RELEASE', 'CANCEL_PERSON',
    'LIFT_BAR', 'EXCUSE_NO_SHOW', 'UNDO_CHECK_IN', 'LATE_ATTENDANCE'
));
