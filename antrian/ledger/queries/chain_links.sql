-- Returns the links of the chain, in order. out: link, office_id, first, last, digest, hash, made_at.
select link, office_id, first, last, digest, hash, made_at from link order by link
