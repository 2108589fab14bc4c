-- What recording a turn does not need: a third of its time went into foreign keys that its own statement upholds, and into
-- indexes beside which another leads to the same rows (docs/decisions/2026-11-26-as-fast-as-the-parts.md).

-- record.sql writes booking and applicant from rows of lane and slot that it has just read, and neither is ever deleted.
alter table booking drop constraint booking_office_id_fkey, drop constraint booking_slot_id_fkey;
alter table applicant drop constraint applicant_slot_id_fkey, drop constraint applicant_booking_id_fkey;

-- A booking's people are those of its slot with its numbers, and a slot's bookings those of its people: applicant_number_once.
drop index applicant_by_booking;
drop index booking_of_slot;
