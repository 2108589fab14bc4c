"""A Postgres that is silent does not hold its caller for ever."""

import psycopg
import pytest

from antrian.ledger import connection
from antrian.ledger.connection import LimitedAsyncConnection, LimitedConnection


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWERS_WITHIN", 0.3)


def test_a_connection_breaks_when_nothing_is_answered(database_url: str) -> None:
    with (
        LimitedConnection.connect(database_url) as made,
        pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"),
    ):
        made.execute("select pg_sleep(5)")
    assert made.closed


async def test_so_does_a_servers(database_url: str) -> None:
    async with await LimitedAsyncConnection.connect(database_url) as made:
        with pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"):
            await made.execute("select pg_sleep(5)")
    assert made.closed
