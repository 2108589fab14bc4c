"""A whole Antrian of its own that may be broken: stores, two servers, workers, and a proxy on every link between them."""

import asyncio
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal

import psutil
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis import Redis
from redis.exceptions import RedisError

from antrian.booking import Office
from antrian.lane.consumer import LaneConsumer
from antrian.local.child import Child
from antrian.local.embedded import EmbeddedStores
from antrian.local.replicated_postgres import ReplicatedPostgres
from antrian.local.replicated_redis import Host, ReplicatedRedis
from antrian.redis_primary import connect
from antrian.settings import Settings
from tests.faults.proxy import Proxy
from tests.faults.town import found
from tests.support.cut_network import CutLinks, CutNetwork, can_cut, hasten
from tests.support.keys import key_variables, make_keys
from tests.support.waiting import until

SERVERS = ("server-1", "server-2")
WORKERS = ("worker-1", "worker-2")
"""Each a supervisor of one worker process."""
Store = Literal["redis", "postgres"]
_RESTART_AFTER = 0.5
_ROOT = Path(__file__).parents[2]


@dataclass
class Program:
    """One of ours as it runs now. With keep it is started again when it ends."""

    child: Child
    command: Sequence[str]
    extra: dict[str, str]
    keep: bool


class Site:
    """An Antrian in `folder`, an async context manager: ready when entered, five minutes into a Friday's window.

    Every program reaches each store, and the load each server, through a proxy of its own: `links["worker-1", "redis"]`,
    `["server-2", "postgres"]`, `["server-1", "calls"]`. standby: the ledger is `replicated`, with a link to each Postgres of it,
    `["worker-1", "postgres-2"]`, instead of the one of `stores`. What ends is started again half a second later, as an init
    system would; stores only by start_store(). environment is given to every program. Make it in the main thread.

    With replicas, each Redis is on a host of its own in `network`, and programs reach it without a proxy.
    """

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        standby: bool = False,
        replicas: int = 0,
    ) -> None:
        self.folder = folder
        self.network = (CutNetwork if can_cut() else CutLinks)(replicas + 1) if replicas else None
        self.stores = EmbeddedStores(folder, replicas=replicas, hosts=self.network.hosts if self.network else ())
        self.replicated: ReplicatedPostgres | None = None
        self.programs: dict[str, Program] = {}
        self.links: dict[tuple[str, str], Proxy] = {}
        self.hosts: dict[str, Host] = {}
        """The hosts in `network` of programs that start there; these reach Postgres past all proxies."""
        self.offices: list[Office] = []
        self.dates: Sequence[date] = ()
        self._environment = {"ANTRIAN_REPLICAS": str(min(1, replicas))} | dict(environment or {})
        self._standby = standby
        self._ports: dict[str, int] = {}
        self._undo = AsyncExitStack()

    async def __aenter__(self) -> "Site":
        async with AsyncExitStack() as undo:
            if self.network:
                undo.enter_context(self.network)
            self.stores.start()
            undo.callback(self.stores.stop)
            if self.stores.replicated:
                hasten(self.stores.replicated)
            undo.callback(self._wake_stores)
            if self._standby:
                (self.folder / "replicated").mkdir()
                self.replicated = ReplicatedPostgres(self.folder / "replicated", self.stores.lock)
                self.replicated.start()
                undo.callback(self.replicated.stop)
            self._environment |= {
                **key_variables(make_keys(secrets.token_bytes(32), secrets.token_bytes(32))),
                "ANTRIAN_EMBEDDED": "1",
                "ANTRIAN_WORKER_PROCESSES": "1",
                "ANTRIAN_AUDIT_SECONDS": "0",
            }
            self.offices, self.dates = found(self.stores.redis_url, self.database_url)
            undo.push_async_callback(self._close_links)
            undo.push_async_callback(self._stop_programs)
            for name in (*SERVERS, *WORKERS):
                await self.start(name)
            keeper = asyncio.create_task(self._keep_programs())
            undo.callback(keeper.cancel)
            await self.until_open()
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._undo.aclose()

    @property
    def targets(self) -> list[str]:
        """Where the load calls the servers: their proxies."""
        return [f"127.0.0.1:{self.links[name, 'calls'].port}" for name in SERVERS]

    @property
    def settings(self) -> Settings:
        """For who looks at the stores, past all proxies."""
        values = {name.removeprefix("ANTRIAN_").lower(): value for name, value in self._environment.items()}
        return Settings.model_validate(
            values
            | {
                "redis_url": self.stores.redis_url,
                "rq_redis_url": self.stores.redis_url,
                "database_url": self.database_url,
            }
        )

    @property
    def database_url(self) -> str:
        """The ledger, past all proxies."""
        return self.replicated.url if self.replicated else self.stores.database_url

    def redis(self) -> Redis:
        """A client of Redis, past all proxies. Close it."""
        return connect(self.stores.redis_url, socket_timeout=5)

    # -- programs

    async def start(self, name: str, module: str = "", *arguments: str, keep: bool = True, **extra: str) -> Program:
        """Starts a program, by default the one whose name it bears; extra is added to its environment.

        Its links stay those that it had. One of that name must have ended.
        """
        for store, target in self._sockets().items():
            await self._link(name, store, target)
        if name in SERVERS:
            port = self._ports.setdefault(name, _free_port())
            await self._link(name, "calls", port)
            host = self.hosts.get(name)
            self.links[name, "calls"].target = partial(self._dial, host, port) if host else port
        command = [module or ("server" if name in SERVERS else "workers"), *arguments]
        self.programs[name] = Program(self._child(name, command, extra), command, extra, keep)
        return self.programs[name]

    async def stop(self, name: str) -> None:
        """Asks a program to end, for good; returns when it has."""
        program = self.programs[name]
        program.keep = False
        program.child.process.terminate()
        await self.ended(program)

    async def ended(self, program: Program, within: float = 15) -> int:
        """Its exit code, once it has ended."""
        await until(lambda: program.child.process.poll() is not None, within)
        return program.child.process.returncode

    def worker_processes(self, *names: str) -> list[psutil.Process]:
        """The worker processes below these supervisors, of all when none is named."""
        found = []
        for name in names or WORKERS:
            with suppress(psutil.NoSuchProcess):
                below = psutil.Process(self.programs[name].child.process.pid).children()
                found += [p for p in below if "multiprocessing.spawn" in " ".join(p.cmdline())]
        return found

    async def until_open(self, within: float = 30) -> None:
        """Returns when the servers serve, every worker is there, and every lane is open."""
        with closing(LaneConsumer(self.stores.redis_url)) as line:

            def is_open() -> bool:
                return (
                    all(self._ready_file(name).exists() for name in SERVERS)
                    and len(self.worker_processes()) >= len(WORKERS)
                    and all(line.audit(office.office_id).opened for office in self.offices)
                )

            try:
                await until(is_open, within)
            except AssertionError:
                for program in self.programs.values():
                    program.child.check()  # the last words of one that ends again and again say more
                raise

    async def until_idle(self, within: float) -> None:
        """Returns when no lane has anything in line, at its desk or in its outbox."""
        with closing(LaneConsumer(self.stores.redis_url)) as line:

            def busy(office_id: str) -> bool:
                lane = line.audit(office_id)
                return bool(lane.waiting or lane.unsettled or lane.commands_waiting)

            await until(lambda: not any(busy(office.office_id) for office in self.offices), within)

    # -- stores

    def store_processes(self, store: Store) -> list[psutil.Process]:
        """The store's process, then those below it."""
        main = psutil.Process(self.stores.pids[store])
        return [main, *main.children(recursive=True)]

    async def kill_store(self, store: Store) -> None:
        """Kills (-9) all its processes; returns when they are gone."""
        processes = self.store_processes(store)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._store(store).process.wait()
        await until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes))

    async def start_store(self, store: Store, within: float = 30) -> None:
        """Starts a store that has ended, on its data; returns when it answers."""

        def responses() -> bool:
            if self._store(store).process.poll() is not None:
                start()  # also again: see start_postgres
            return answered()

        start, answered = {
            "redis": (self.stores.start_redis, self.stores.redis_answers),
            "postgres": (self.stores.start_postgres, self.stores.postgres_answers),
        }[store]
        await until(responses, within)

    def signal_store(self, store: Store, number: signal.Signals) -> None:
        """Sends all its processes a signal, such as SIGSTOP."""
        for process in self.store_processes(store):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _store(self, store: Store) -> Child:
        return next(child for child in self.stores.children if child.name == store)

    @property
    def redis_nodes(self) -> ReplicatedRedis:
        """The Redis of a site with replicas."""
        assert self.stores.replicated
        return self.stores.replicated

    async def mend_redis(self, within: float = 60) -> str:
        """Starts, wakes and plugs in what a fault of a Redis with replicas has left. Returns the primary when all follow it."""
        assert self.network
        for host in self.network.hosts:
            self.network.heal(host)
        for name, child in self.redis_nodes.children.items():
            if child.process.poll() is None:
                self.redis_nodes.resume(name)
            else:
                self.redis_nodes.restart(name)
        ends = time.monotonic() + within
        while not await asyncio.to_thread(self._is_whole):
            assert time.monotonic() < ends, f"not all processes of Redis agree after {within:g} s"
            await asyncio.sleep(0.1)
        return self.redis_nodes.primary()

    def _is_whole(self) -> bool:
        with suppress(RedisError):
            hasten(self.redis_nodes)
            return self.redis_nodes.is_whole()
        return False

    # -- how it is made

    def _dial(self, host: Host, port: int) -> socket.socket:
        assert isinstance(self.network, CutNetwork)
        return self.network.dial(host, port)

    def _child(self, name: str, command: Sequence[str], extra: dict[str, str]) -> Child:
        host = self.hosts.get(name)
        user = "server" if name in SERVERS else "operator" if command[0] == "workers.rebuild" else "worker"
        redis_url, rq_redis_url = self._redis_url(name, user), self._redis_url(name, "rq")
        ports = ",".join(str(self.links[name, store].port) for store in self._sockets() if store != "redis")
        database_url = self.database_url
        if host is None:
            database_url = make_conninfo(
                database_url, host=",".join(["127.0.0.1"] * (1 + self._standby)), port=ports, sslmode="disable"
            )
        self._ready_file(name).unlink(missing_ok=True)
        return Child(
            name,
            [*(host.enter if host else ()), sys.executable, "-P", "-m", *command],
            log=self.folder / f"log/{name}.log",
            lock=self.stores.lock,
            cwd=_ROOT,
            environment=os.environ
            | {"PYTHONPATH": str(_ROOT)}  # for modules of tests; -P leaves out the folder where we are
            | self._environment
            | {
                "ANTRIAN_REDIS_URL": redis_url,
                "ANTRIAN_RQ_REDIS_URL": rq_redis_url,
                "ANTRIAN_DATABASE_URL": database_url,
                "ANTRIAN_LISTEN": f"127.0.0.1:{self._ports.get(name, 0)}",
                "ANTRIAN_READY_FILE": str(self._ready_file(name)),
            }
            | extra,
            # A supervisor's own processes do not have our lock, so it is asked to end rather than killed.
            dies_by="KILL" if name in SERVERS else "TERM",
        )

    def _redis_url(self, name: str, user: str) -> str:
        """Where a program finds Redis, as this user: behind its proxy, unless Redis has replicas."""
        if self.stores.replicated:
            return self.stores.redis_url_of(user)
        return f"redis://{user}:{self.stores.passwords[user]}@127.0.0.1:{self.links[name, 'redis'].port}"

    def _sockets(self) -> dict[str, Path]:
        """Where the stores listen, by the names of their links."""
        redis = Path(str(conninfo_to_dict(self.stores.database_url)["host"]), "redis.sock")
        if not self.replicated:
            return {"redis": redis, "postgres": redis.with_name(".s.PGSQL.5432")}
        of = conninfo_to_dict(self.replicated.url)
        hosts, ports = str(of["host"]).split(","), str(of["port"]).split(",")
        places = [Path(host, f".s.PGSQL.{port}") for host, port in zip(hosts, ports, strict=True)]
        return {"redis": redis} | dict(zip(("postgres-1", "postgres-2"), places, strict=True))

    def _ready_file(self, name: str) -> Path:
        return self.folder / f"{name}.ready"

    async def _link(self, name: str, other: str, target: Path | int) -> None:
        if (name, other) not in self.links:
            link = self.links[name, other] = Proxy(target)
            await link.start()

    async def _close_links(self) -> None:
        for link in self.links.values():
            await link.close()

    def _wake_stores(self) -> None:
        for child in self.stores.children:
            child.process.send_signal(signal.SIGCONT)

    async def _stop_programs(self) -> None:
        for program in self.programs.values():
            program.keep = False
            program.child.process.send_signal(signal.SIGCONT)
            program.child.process.terminate()
        for program in self.programs.values():  # the links serve until the last has ended
            with suppress(AssertionError):
                await self.ended(program)
            program.child.stop()

    async def _keep_programs(self) -> None:
        while True:
            for name, program in list(self.programs.items()):
                if program.keep and program.child.process.poll() is not None:
                    await asyncio.sleep(_RESTART_AFTER)
                    if self.programs[name] is program and program.keep:
                        program.child = self._child(name, program.command, program.extra)
            await asyncio.sleep(0.05)


def _free_port() -> int:
    """Below the ephemeral ports, so that no client takes it while a server is away."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
