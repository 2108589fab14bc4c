-- Ways back: an office releases a booking with a reason, and one person of a party cancels while the others stay.

-- cancelled_at: when this person cancelled, and so holds no place any more. The queue number stays retired.
alter table applicant add column cancelled_at timestamptz;
alter table applicant add constraint applicant_cancelled_is_gone
    check (cancelled_at is null or not live and present_at is null);

-- cancelled_people: the number of applicants with cancelled_at, so that reading a booking need not read its people.
alter table booking add column cancelled_people int not null default 0;
alter table booking add constraint booking_someone_is_left
    check (cancelled_people between 0 and party_size - case state when 'CANCELLED' then 0 else 1 end);

alter table booking drop constraint booking_reason_known;
alter table booking drop constraint booking_reason_when_rejected;
alter table booking add constraint booking_reason_known check (reason in (
    'SLOT_FULL', 'TOO_LATE', 'ALREADY_BOOKED', 'INTERNAL', 'DAY_CLOSED', 'RELEASED_BY_OFFICE', 'PERSON_CANCELLED_BY_OFFICE'
));
alter table booking add constraint booking_reason_when_rejected check (case state
    when 'REJECTED' then reason is not null
    when 'CANCELLED' then true
    else reason is null or reason = 'PERSON_CANCELLED_BY_OFFICE'
end);

alter table staff_action drop constraint staff_action_kind_check;
alter table staff_action add constraint staff_action_kind_check
    check (kind in ('CHECK_IN', 'SET_QUOTA', 'CLOSE_DATE', 'RELEASE', 'CANCEL_PERSON'));
