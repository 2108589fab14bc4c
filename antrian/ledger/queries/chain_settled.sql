-- Returns whether every transaction up to that id has ended. in: xid.
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint > %(xid)s
