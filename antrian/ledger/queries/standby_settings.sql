-- Returns which standbys commits wait for, and whether this session's do. out: names, level.
select current_setting('synchronous_standby_names') as names, current_setting('synchronous_commit') as level
