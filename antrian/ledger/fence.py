"""Why the ledger refuses a drainer; record.sql and fence_commands.sql find it out."""

import psycopg


class LedgerFencedError(Exception):
    """A newer drainer has written for this lane; nothing was written."""


class LedgerBusyError(psycopg.OperationalError):
    """Somebody holds the lane's rows; nothing was written, and later it can be."""


class LedgerGapError(Exception):
    """The turn does not follow what the ledger has of the lane; nothing was written, the lane has to be rebuilt."""
