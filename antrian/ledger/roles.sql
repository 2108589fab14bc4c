-- Creates the database roles of Antrian's programs, once per Postgres server, as a role that may create roles. Safe to repeat.
-- None is a superuser, and none has a password yet: set one with `alter role … password`. antrian_owner has to own the database.
-- grants.sql says what each may do.
do $$
declare
    role text;
begin
    foreach role in array array[
        'antrian_owner', -- `antrian migrate`, offices and policies: owns everything in the database
        'antrian_server', -- servers: read everything, check people in, correct names, retire offices
        'antrian_worker', -- workers: record outcomes, execute the commands of lanes, extend the hash chain, erase old data
        'antrian_auditor' -- `antrian verify`: reads everything, writes nothing
    ] loop
        begin
            execute format('create role %I login nosuperuser nocreatedb nocreaterole noreplication nobypassrls', role);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end $$
