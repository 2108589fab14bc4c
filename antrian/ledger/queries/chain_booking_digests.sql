-- Returns a digest of the bookings, as they were recorded, of each of these ranges of tickets, with their applicants.
-- in, one element per range: office, first, last. The session's time zone must be UTC.
-- out, in order of the ranges: digest.
-- A row that has changed since is represented by the digest that the journal has of it before its first change.
select sha256(coalesce(
    string_agg(
        coalesce(
            (select before from journal where kind = 'booking' and row_id = b.booking_id::text order by entry limit 1),
            sha256(convert_to(jsonb_strip_nulls(to_jsonb(b))::text, 'UTF8'))
        ) || coalesce(people.digests, ''),
        ''::bytea order by b.ticket
    ),
    ''
))
from unnest(%(office)s::text[], %(first)s::bigint[], %(last)s::bigint[]) with ordinality as range (office_id, first, last, number)
left join booking as b on b.office_id = range.office_id and b.ticket between range.first and range.last
left join lateral (
    select string_agg(
        coalesce(
            (
                select before
                from journal
                where kind = 'applicant' and row_id = concat(a.slot_id, ' ', a.number)
                order by entry
                limit 1
            ),
            sha256(convert_to(jsonb_strip_nulls(to_jsonb(a))::text, 'UTF8'))
        ),
        ''::bytea order by a.number
    ) as digests
    from applicant as a
    where a.slot_id = b.slot_id and a.number between b.first_number and b.first_number + b.party_size - 1
) as people on true
group by range.number
order by range.number
