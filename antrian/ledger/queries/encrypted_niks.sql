-- Searches the encrypted data for NIKs in clear. They are random bytes, so only digits in a row count.
-- out: examined, violations.
select count(*), count(*) filter (where encode(encrypted, 'escape') ~ '[0-9]{16}') from applicant
