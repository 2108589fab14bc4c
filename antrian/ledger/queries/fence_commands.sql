-- First in every record of a desk: takes the lane's row lock and moves its desk forward, if this drainer may.
-- in: office, token, first, last (numbers of the batch). Changes one row, or none when a newer token has written
-- (fenced) or the batch neither follows the last recorded entry nor repeats the last batch (a gap).
-- Holds: P1, P10 against late drainers and a Redis that went back in time.
update lane
set token = %(token)s, last_command = %(last)s
where office_id = %(office)s
    and token <= %(token)s
    and last_command in (%(first)s - 1, %(last)s)
