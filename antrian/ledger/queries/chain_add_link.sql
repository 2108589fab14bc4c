-- Adds a link to the chain. in: link, office, first, last, digest, hash.
insert into link (link, office_id, first, last, digest, hash)
values (%(link)s, %(office)s, %(first)s, %(last)s, %(digest)s, %(hash)s)
