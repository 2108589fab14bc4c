-- Returns a digest of the journal's entries of each of these ranges.
-- in, one element per range: first, last. The session's time zone must be UTC.
-- out, in order of the ranges: digest.
select sha256(coalesce(
    string_agg(sha256(convert_to(jsonb_strip_nulls(to_jsonb(j))::text, 'UTF8')), ''::bytea order by j.entry), ''
))
from unnest(%(first)s::bigint[], %(last)s::bigint[]) with ordinality as range (first, last, number)
left join journal as j on j.entry between range.first and range.last
group by range.number
order by range.number
