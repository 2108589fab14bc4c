-- Returns the triggers that keep the journal. out: table, trigger, whether it is switched on.
select relname, tgname, tgenabled = 'O'
from pg_trigger
join pg_class on pg_class.oid = tgrelid
where not tgisinternal and relname in ('booking', 'applicant', 'bar', 'staff_action', 'policy_version', 'journal', 'link')
