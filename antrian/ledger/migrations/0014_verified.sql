-- People whom a caller has identified, and what that changes: their requests displace bookings that did not verify them.

-- verified: whether the caller vouched that this person was identified.
alter table applicant add column verified boolean not null default false;

-- verified_only: whether the policy of that time barred only verified people for a no-show.
alter table day_done add column verified_only boolean not null default false;

alter table booking drop constraint booking_reason_known;
alter table booking drop constraint booking_reason_when_rejected;
alter table booking add constraint booking_reason_known check (reason in (
    'SLOT_FULL', 'TOO_LATE', 'ALREADY_BOOKED', 'INTERNAL', 'DAY_CLOSED', 'RELEASED_BY_OFFICE', 'PERSON_CANCELLED_BY_OFFICE',
    'RECLAIMED'
));
alter table booking add constraint booking_reason_when_rejected check (case state
    when 'REJECTED' then reason is not null
    when 'CANCELLED' then true
    else reason is null or reason in ('PERSON_CANCELLED_BY_OFFICE', 'RECLAIMED')
end);

alter table staff_action drop constraint staff_action_kind_check;
alter table staff_action add constraint staff_action_kind_check check (kind in (
    'CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE', 'RELEASE', 'CANCEL_PERSON', 'RECLAIM',
    'LIFT_BAR', 'EXCUSE_NO_SHOW', 'UNDO_CHECK_IN', 'LATE_ATTENDANCE', 'RETIRE_OFFICE', 'REOPEN_OFFICE', 'CORRECT_NAME',
    'READ_ROSTER', 'READ_BARS', 'RETENTION', 'EXPORT_PERSON', 'ERASE_PERSON'
));
