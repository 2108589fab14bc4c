"""A Postgres that is silent does not hold its caller for ever."""

import psycopg
import pytest

from antrian.ledger import connection
from antrian.ledger.connection import LimitedAsyncConnection, LimitedConnection
from antrian.ledger.recorder import LedgerRecorder
from tests.support.world import PUSAT, World


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWERS_WITHIN", 0.3)


@pytest.mark.usefixtures("_short")
def test_a_connection_breaks_when_nothing_is_answered(database_url: str) -> None:
    with (
        LimitedConnection.connect(database_url) as made,
        pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"),
    ):
        made.execute("select pg_sleep(5)")
    assert made.closed


@pytest.mark.usefixtures("_short")
async def test_so_does_a_servers(database_url: str) -> None:
    async with await LimitedAsyncConnection.connect(database_url) as made:
        with pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"):
            await made.execute("select pg_sleep(5)")
    assert made.closed


async def test_who_freezes_in_the_middle_of_a_transaction_does_not_hold_its_lane(world: World) -> None:
    await world.ticket(world.request(1))
    with LedgerRecorder(world.settings.database_url) as other, other._pool.connection() as frozen:
        frozen.execute("begin")
        frozen.execute("select from lane where office_id = %s for update", [PUSAT])
        assert world.turn() == 1
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            frozen.execute("commit")
