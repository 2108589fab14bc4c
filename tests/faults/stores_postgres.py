"""Faults of Postgres: killed, restarted, frozen, slow, without connections, without room."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import psycopg

from antrian.lane.consumer import LaneConsumer
from antrian.local.replicated_postgres import ReplicatedPostgres
from tests.faults.fault import fault
from tests.faults.load import Load
from tests.faults.site import SERVERS, WORKERS, Site
from tests.support.waiting import until

_AWAY = 5.0


@fault("Postgres killed (-9) and restarted", injections=5, quick=1)
async def kill_postgres(site: Site, load: Load) -> float:
    """What it has committed is there. Requests are accepted meanwhile and decided when it is back; none is told twice."""
    await site.kill_store("postgres")
    try:
        await _stay_away(site)
    finally:
        await site.start_store("postgres")
    return time.monotonic()


@fault("Postgres restarted (fast shutdown)", injections=5)
async def restart_postgres(site: Site, load: Load) -> float:
    """The same, and workers wait instead of taking lane after lane."""
    processes = site.store_processes("postgres")
    processes[0].send_signal(signal.SIGINT)
    await until(lambda: not any(process.is_running() for process in processes[1:]))
    try:
        await _stay_away(site)
    finally:
        await site.start_store("postgres")
    return time.monotonic()


@fault("Postgres's primary killed (-9), its standby promoted", injections=5, standby=True)
async def promote_the_standby(site: Site, load: Load) -> float:
    """The standby has every commit, since each waited for it. Programs find it by themselves."""
    replicated = await _with_standby(site)
    killed = time.monotonic()
    await asyncio.to_thread(replicated.promote)
    return killed


@fault("machine of Postgres's primary lost, its standby promoted", injections=4, standby=True)
async def promote_the_standby_of_a_machine(site: Site, load: Load) -> float:
    """The same, although open connections stay silent, and the old host does not respond to new ones."""
    replicated = await _with_standby(site)
    gone = time.monotonic()
    for name in (*SERVERS, *WORKERS):
        site.links[name, replicated.primary].black_hole()
    await asyncio.to_thread(replicated.promote)
    return gone


@fault("Postgres's standby killed (-9) and restarted after 5 s", injections=3, standby=True)
async def lose_the_standby(site: Site, load: Load) -> float:
    """Commits wait for it, so no outcome is reported that a promotion could undo. Requests are accepted meanwhile."""
    replicated = await _with_standby(site)
    await asyncio.to_thread(replicated.kill, replicated.standby)
    try:
        await _stay_away(site)
    finally:
        await asyncio.to_thread(replicated.restart, replicated.standby)
    return time.monotonic()


async def _with_standby(site: Site) -> ReplicatedPostgres:
    """Returns the site's Postgres once its primary has a standby, which one that was promoted lacks at first."""
    replicated = site.replicated
    assert replicated
    for (_, store), link in site.links.items():
        if store.startswith("postgres"):
            link.heal()
    if not replicated.is_synchronous():
        await asyncio.to_thread(replicated.start_standby)
    return replicated


async def _stay_away(site: Site) -> None:
    """While Postgres is away, no worker decides a second time: what is decided and not recorded is one go of each.

    A go decides all of its lanes at once, of which one look may see a part and the next the rest.
    """
    ends, decided, times = time.monotonic() + _AWAY, set[str](), 0
    with closing(LaneConsumer(site.stores.redis_url)) as line:
        while time.monotonic() < ends:
            lanes = {office.office_id for office in site.offices if line.audit(office.office_id).unsettled > 0}
            times += not lanes <= decided
            decided |= lanes
            assert times <= 2 * len(WORKERS), f"{times} times more lanes were decided"
            await asyncio.sleep(0.05)


@fault("Postgres frozen for 5 s", injections=5)
async def freeze_postgres(site: Site, load: Load) -> float:
    """Longer than a lease, and as long as connections wait: what was sent is recorded once, whoever sends it again."""
    site.signal_store("postgres", signal.SIGSTOP)
    try:
        await _stay_away(site)
    finally:
        site.signal_store("postgres", signal.SIGCONT)
    return time.monotonic()


@fault("Postgres slow (200 ms round trip)", injections=3)
async def slow_postgres_down(site: Site, load: Load) -> float:
    """All goes on, though slower: no turn takes longer than its lease."""
    links = [site.links[name, "postgres"] for name in (*SERVERS, *WORKERS)]
    try:
        for link in links:
            link.delay = 0.1
        ended = len(load.ended)
        await until(lambda: len(load.ended) > ended + 50)
    finally:
        for link in links:
            link.delay = 0.0
    return time.monotonic()


@fault("Postgres out of connections for 5 s", injections=5)
async def use_connections_up(site: Site, load: Load) -> float:
    """Ours are ended and somebody else takes all there are: the same as when it is away."""
    others: list[psycopg.AsyncConnection] = []
    ends = time.monotonic() + _AWAY
    refused = 0
    try:
        while time.monotonic() < ends:
            try:
                others.append(await psycopg.AsyncConnection.connect(site.stores.database_url, autocommit=True))
            except psycopg.OperationalError:
                refused += 1
                pids = [other.info.backend_pid for other in others]
                await others[0].execute(_END_OTHERS, [pids])
    finally:
        await asyncio.gather(*(other.close() for other in others))
    assert refused > 1
    return time.monotonic()


_END_OTHERS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where backend_type = 'client backend' and not pid = any(%s) and pid != pg_backend_pid()
"""


@fault("all connections to Postgres ended at once, repeatedly", injections=5, within=2)
async def end_all_connections(site: Site, load: Load) -> float:
    """Dead connections that wait in pools are not met one by one: what a program has of them goes with the first."""
    async with await psycopg.AsyncConnection.connect(site.stores.database_url, autocommit=True) as other:
        ended = 0
        while ended < 60:
            ended += (await other.execute(_END_OTHERS, [[]])).rowcount
            await asyncio.sleep(0.3)
    return time.monotonic()


@fault("Postgres read-only for 5 s, sessions opened meanwhile for good", injections=5)
async def leave_sessions_read_only(site: Site, load: Load) -> float:
    """As by a failover or a full disk of a managed Postgres: who connected meanwhile may never write over that again."""
    mark = "alter database antrian %s default_transaction_read_only"
    async with await psycopg.AsyncConnection.connect(site.stores.database_url, autocommit=True) as other:
        await other.execute("set default_transaction_read_only = off")
        await other.execute(f"{mark % 'set'} = on".encode())
        try:
            await other.execute(_END_OTHERS, [[]])
            await _stay_away(site)
        finally:
            await other.execute((mark % "reset").encode())
    return time.monotonic()


@fault("Postgres's disk full for 5 s", injections=3)
async def fill_the_disk_of_postgres(site: Site, load: Load) -> float:
    """Nothing is recorded, so nothing is told; what was accepted waits until there is room.

    The bookings move to a small disk of their own (a tmpfs), which is then filled; the log of Postgres stays where it
    is: without room for that, Postgres ends, as when it is killed.
    """
    async with _small_disk(site) as disk:
        rest = disk / "rest"
        log = site.folder / "log/postgres.log"
        known = log.read_bytes().count(_NO_ROOM)
        await asyncio.to_thread(_fill, rest)
        await until(lambda: log.read_bytes().count(_NO_ROOM) > known)
        await asyncio.sleep(_AWAY)
        rest.unlink()
        return time.monotonic()


_NO_ROOM = b"No space left on device"


def _fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as output:
        while True:
            output.write(bytes(4096))


@asynccontextmanager
async def _small_disk(site: Site) -> AsyncIterator[Path]:
    """A disk of 8 MB on which the bookings lie; the machine has to let us mount one."""
    disk = site.folder / "small"
    disk.mkdir()
    await _run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk))
    try:
        (disk / "data").mkdir()
        shutil.chown(disk / "data", (site.folder / "postgres").stat().st_uid)
        async with await psycopg.AsyncConnection.connect(site.stores.database_url, autocommit=True) as book:
            await book.execute(f"create tablespace small location '{disk}/data'")
            await book.execute("alter table booking set tablespace small")
            try:
                yield disk
            finally:
                await book.execute("alter table booking set tablespace pg_default")
                await book.execute("drop tablespace small")
    finally:
        await _run("umount", str(disk))
        disk.rmdir()


async def _run(*command: str) -> None:
    # Not by asyncio: uvloop forks, which gRPC does not like.
    await asyncio.to_thread(subprocess.run, command, check=True)
