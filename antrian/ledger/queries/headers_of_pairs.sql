-- Returns the next people whose data are encrypted to one of these key pairs, in the order of the primary key.
-- in: pair_ids (bytea[]), after_slot and after_number (of the last person of the previous piece; zeros: from the start), most.
-- out: slot_id, number, header (id of the key pair and wrapped data key: HEADER in antrian/encryption.py).
select slot_id, number, substring(encrypted for 88) as header
from applicant
where (slot_id, number) > (%(after_slot)s, %(after_number)s)
    and substring(encrypted for 8) = any(%(pair_ids)s::bytea[])
order by slot_id, number
limit %(most)s
