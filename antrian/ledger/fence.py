"""Why the ledger refuses to record: the results of record.sql and fence_commands.sql as errors."""

import psycopg


class LedgerFencedError(Exception):
    """A newer consumer has written to the lane. Nothing was written."""


class LedgerBusyError(psycopg.OperationalError):
    """Another transaction locks the lane's rows. Nothing was written; a retry may succeed."""


class LedgerGapError(Exception):
    """The turn or commands do not follow the lane's last ones in the ledger. Nothing was written; the lane must be rebuilt."""
