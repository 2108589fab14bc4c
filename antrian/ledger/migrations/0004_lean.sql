-- Drops what recording a turn does not need: a third of its time went into foreign keys that its own statement ensures, and
-- into redundant indexes (docs/decisions/2026-11-26-as-fast-as-the-parts.md).

-- record.sql writes bookings and applicants for rows of lane and slot that it has just read, and these are never deleted.
alter table booking drop constraint booking_office_id_fkey, drop constraint booking_slot_id_fkey;
alter table applicant drop constraint applicant_slot_id_fkey, drop constraint applicant_booking_id_fkey;

-- The primary key applicant_number_once finds a booking's people by slot and number, and a slot's bookings by its people.
drop index applicant_by_booking;
drop index booking_of_slot;
