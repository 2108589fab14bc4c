-- Whether any lane ever recorded a ticket. out: one boolean.
select exists (select from lane where last_ticket > 0)
