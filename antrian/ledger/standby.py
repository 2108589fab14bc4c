"""Whether commits wait for a standby: one that is promoted without them would lose confirmed bookings."""

import logging

import psycopg
from psycopg.conninfo import conninfo_to_dict

from antrian.ledger import sql
from antrian.ledger.connection import CONNECT, LimitedConnection

_log = logging.getLogger(__name__)


def has_several_hosts(database_url: str) -> bool:
    """Returns whether the URL names more than one server, of which one at a time is the primary."""
    given = conninfo_to_dict(database_url)
    return "," in f"{given.get('host', '')}{given.get('hostaddr', '')}"


def warn_without_standby(database_url: str) -> None:
    """Logs a warning if the URL has several hosts and commits on the primary wait for no standby.

    Hosted servers may not show these settings; that is logged, too. Raises psycopg.Error when there is no primary.
    """
    if not has_several_hosts(database_url):
        return
    with LimitedConnection.connect(database_url, autocommit=True, **CONNECT) as ledger:
        try:
            [(names, level)] = ledger.execute(sql("standby_settings"))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as problem:
            _log.warning("Postgres does not show its settings, check its standby yourself: %s", problem)
            return
    if not names or level in {"off", "local"}:
        _log.warning("Postgres commits without waiting for a standby, so promoting one loses confirmed bookings")
