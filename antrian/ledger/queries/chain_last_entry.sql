-- Draws a transaction id, and returns the journal's last entry and that id. Every entry up to this one belongs to a transaction
-- with a lower id, because the trigger that adds an entry runs in a transaction that has its id already.
-- out: entry (0: none), xid.
select coalesce(max(entry), 0), pg_current_xact_id()::text::bigint from journal
