-- Replaces the headers of people's encrypted data that are still what was read. What follows the header stays.
-- in: slot_ids, numbers, headers (as read), rewrapped (the new headers): arrays of the same length.
update applicant
set encrypted = piece.rewrapped || substring(applicant.encrypted from 89)
from unnest(%(slot_ids)s::bigint[], %(numbers)s::int[], %(headers)s::bytea[], %(rewrapped)s::bytea[])
    as piece (slot_id, number, header, rewrapped)
where applicant.slot_id = piece.slot_id
    and applicant.number = piece.number
    and substring(applicant.encrypted for 88) = piece.header
