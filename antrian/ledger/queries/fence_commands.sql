-- Runs first when commands are recorded: takes the lane's row lock and moves its last command forward, if the consumer may.
-- in: office, token, first, last (numbers of the batch). Changes one row, or none if a newer token has written (fenced) or the
-- batch neither follows the last recorded command nor repeats the last batch (a gap).
-- Holds: P1, P10 against outdated consumers and a Redis that was restored from an older copy.
update lane
set token = %(token)s, last_command = %(last)s
where office_id = %(office)s
    and token <= %(token)s
    and last_command in (%(first)s - 1, %(last)s)
