-- Returns whether a commit of this session waits for a synchronous standby. out: waits.
select
    current_setting('synchronous_standby_names') <> ''
    and current_setting('synchronous_commit') not in ('off', 'local') as waits
