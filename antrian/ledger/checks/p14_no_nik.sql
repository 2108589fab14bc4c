-- P14 no NIK in clear in the ledger
-- out: examined (texts), breaches (texts with 16 digits in a row).
with texts as (
    select caller as text from booking
    union all
    select account from booking
    union all
    select encode(sealed, 'escape') from applicant
)

select count(*), count(*) filter (where text ~ '[0-9]{16}') from texts
