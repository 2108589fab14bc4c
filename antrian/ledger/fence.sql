-- First in every record: takes the lane's row lock and moves the lane forward, if this drainer may.
-- in: office, token, first, last (tickets of the turn). Changes one row, or none when a newer token has written
-- (fenced) or the turn neither follows the last recorded ticket nor repeats the last turn (a gap).
-- Holds: P1, P2, P3 against late drainers and a Redis that went back in time.
update lane
set token = %(token)s, last_ticket = %(last)s
where office_id = %(office)s
    and token <= %(token)s
    and last_ticket in (%(first)s - 1, %(last)s)
