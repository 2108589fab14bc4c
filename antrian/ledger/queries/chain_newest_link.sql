-- Returns the newest link of the chain. out: link, office_id, first, last, digest, hash, made_at.
select link, office_id, first, last, digest, hash, made_at from link order by link desc limit 1
