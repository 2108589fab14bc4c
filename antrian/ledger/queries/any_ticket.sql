-- Returns whether any lane has a recorded ticket. out: one boolean.
select exists (select from lane where last_ticket > 0)
