-- Retired offices accept no more bookings and serve those that they have.
alter table office add column retired_at timestamptz;

alter table staff_action drop constraint staff_action_kind_check;
alter table staff_action add constraint staff_action_kind_check
    check (kind in (
        'CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE', 'RELEASE', 'CANCEL_PERSON',
        'LIFT_BAR', 'EXCUSE_NO_SHOW', 'UNDO_CHECK_IN', 'LATE_ATTENDANCE', 'RETIRE_OFFICE', 'REOPEN_OFFICE'
    ));
