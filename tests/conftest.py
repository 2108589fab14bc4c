"""Real stores for every test that asks: from wheels, or the servers that ANTRIAN_REDIS_URL and ANTRIAN_DATABASE_URL name."""

import os
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from redis import Redis

from antrian.ledger.migrate import migrate
from antrian.local.embedded import EmbeddedStores
from tests.support.town import copy_stores, found
from tests.support.world import World, empty_ledger

IN_ORDER = [Path(__file__).parent / name for name in ("fuzz", "gateway")]
"""Folders whose tests share one Antrian on purpose, such that generated requests meet what earlier ones did."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Keeps the tests of these folders in the order of their files, whatever the random order of the others."""

    def is_in_order(item: pytest.Item) -> bool:
        return any(folder in item.path.parents for folder in IN_ORDER)

    in_order = iter([item for item in items if is_in_order(item)])
    yield
    items[:] = [next(in_order) if is_in_order(item) else item for item in items]


@dataclass(frozen=True)
class Stores:
    """Where the servers of this test run are."""

    redis_url: str
    database_url: str


def given_servers() -> Stores | None:
    """The servers that the environment names, if it does."""
    redis_url, database_url = os.environ.get("ANTRIAN_REDIS_URL"), os.environ.get("ANTRIAN_DATABASE_URL")
    return Stores(redis_url, database_url) if redis_url and database_url else None


@pytest.fixture(scope="session", autouse=True)
def _given_redis_is_empty() -> None:
    """Tests empty the Redis that they are given: one that holds anything is refused before the first of them."""
    if given := given_servers():
        with Redis.from_url(given.redis_url) as redis:
            assert redis.dbsize() == 0, "ANTRIAN_REDIS_URL names a Redis that is not empty; give the tests another"


@contextmanager
def new_database(database_url: str) -> Iterator[str]:
    """A database of its own on that server, dropped in the end; gives its URL."""
    name = f"antrian_test_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            yield urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Running Redis and Postgres."""
    if given := given_servers():
        yield given
    else:
        with EmbeddedStores(tmp_path_factory.mktemp("stores")) as embedded:
            yield Stores(embedded.redis_url, embedded.database_url)


@pytest.fixture(scope="session")
def new_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on which embedded stores have run once: a copy of it spares a test the making of a database."""
    folder = tmp_path_factory.mktemp("new") / "stores"
    with EmbeddedStores(folder):
        pass
    return folder


@pytest.fixture(scope="session")
def founded(new_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with the OFFICES in the ledger."""
    folder = tmp_path_factory.mktemp("founded")
    copy_stores(new_stores, folder)
    with EmbeddedStores(folder) as stores:
        found(stores.database_url_of("owner"))
    return folder


@pytest.fixture(scope="session")
def migrated(stores: Stores) -> Iterator[str]:
    """A database of this test run's own, with the newest schema."""
    with new_database(stores.database_url) as url:
        migrate(url)
        yield url


@pytest.fixture
def database_url(migrated: str) -> str:
    """An empty ledger."""
    empty_ledger(migrated)
    return migrated


@pytest.fixture
def redis_url(stores: Stores) -> Iterator[str]:
    """A Redis of the test's own, empty."""
    with Redis.from_url(stores.redis_url) as redis:
        redis.flushdb()
        yield stores.redis_url
        redis.flushdb()


@pytest.fixture
async def world(redis_url: str, database_url: str) -> AsyncIterator[World]:
    """Two offices whose lanes are open, one minute into a Friday's window."""
    async with World(redis_url, database_url) as made:
        yield made
