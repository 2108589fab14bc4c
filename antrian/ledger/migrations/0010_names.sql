-- A misspelled name can be corrected before the day.

-- corrected_at: when the account corrected this person's name, which it may do once.
alter table applicant add column corrected_at timestamptz;

alter table staff_action drop constraint staff_action_kind_check;
alter table staff_action add constraint staff_action_kind_check check (kind in (
    'CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE', 'RELEASE', 'CANCEL_PERSON',
    'LIFT_BAR', 'EXCUSE_NO_SHOW', 'UNDO_CHECK_IN', 'LATE_ATTENDANCE', 'RETIRE_OFFICE', 'REOPEN_OFFICE', 'CORRECT_NAME'
));
