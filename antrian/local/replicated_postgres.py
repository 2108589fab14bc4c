"""A Postgres primary with a synchronous standby on one machine, from the wheel. Linux only, like the embedded stores."""

import os
import shutil
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg

from antrian.local.child import Child, EmbeddedError, wait_for
from antrian.local.embedded import (
    fill_postgres,
    make_database,
    postgres_answers,
    private_sockets,
    serve_postgres,
)
from antrian.local.wheels import postgres_binaries

_PORTS = {"postgres-1": "5432", "postgres-2": "5433"}
# A standby that finds no primary looks again soon; one that was away for a while still finds what it lacks.
_REPLICATED = {"wal_retrieve_retry_interval": "200ms", "wal_keep_size": "256MB"}


class ReplicatedPostgres:
    """A Postgres primary and a synchronous standby, with their data below `folder` and their logs in `folder/log`.

    As a context manager it starts both, waits until each commit waits for the standby, and stops them at exit. Both listen
    only on unix sockets. lock: see Child. Raises EmbeddedError.

    The processes are postgres-1 and postgres-2; `primary` and `standby` say which is which. url has both, and leads to
    the one that takes writes.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder.absolute()
        self.children: dict[str, Child] = {}
        self.primary = ""
        self._lock = lock
        self._sockets = Path()
        self._undo = ExitStack()

    def __enter__(self) -> "ReplicatedPostgres":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def standby(self) -> str:
        """The process that is not the primary, whether it runs or not."""
        return next(name for name in _PORTS if name != self.primary)

    @property
    def url(self) -> str:
        """Both hosts, with target_session_attrs=read-write, which leads to the primary."""
        hosts = ",".join([str(self._sockets)] * len(_PORTS))
        ports = ",".join(_PORTS.values())
        return f"postgresql://antrian@/antrian?host={hosts}&port={ports}&target_session_attrs=read-write"

    def url_of(self, name: str) -> str:
        """The address of this one, whatever it is."""
        return f"postgresql://antrian@/antrian?host={self._sockets}&port={_PORTS[name]}"

    def start(self) -> None:
        """Starts both and waits until they are ready. Call it in the main thread: see Child."""
        with ExitStack() as undo:
            self._sockets = undo.enter_context(private_sockets(self.folder))
            undo.callback(self._stop_children)
            self.primary = self._last_primary()
            if not self._data(self.primary).exists():
                make_database(self._data(self.primary), self._sockets, log=self._log(self.primary), lock=self._lock)
            (self._data(self.primary) / "standby.signal").unlink(missing_ok=True)
            for name in _PORTS:  # the lock proves that none runs, even if its old pid belongs to another process by now
                (self._data(name) / "postmaster.pid").unlink(missing_ok=True)
            self.restart(self.primary)
            self.start_standby()
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Stops both, with all data on disk. Safe to repeat."""
        self._undo.close()
        self.children = {}

    def start_standby(self) -> None:
        """Starts the standby, on a copy of the primary if it has no data, and lets each commit wait for it from now on."""
        name = self.standby
        data, log = self._data(name), self._log(name)
        if not data.exists():
            source = f"host={self._sockets} port={_PORTS[self.primary]} user=antrian"
            given = ["--dbname", source, "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"]
            program = postgres_binaries() / "pg_basebackup"
            fill_postgres(
                data, "pg_basebackup", lambda new: [program, "--pgdata", new, *given], log=log, lock=self._lock
            )
        self.restart(name)
        self._set_synchronous("*")
        wait_for(self.is_synchronous, f"{name} does not follow, see {log}:")

    def is_synchronous(self) -> bool:
        """Returns whether the standby follows and commits wait for it."""
        with psycopg.connect(self.url_of(self.primary), autocommit=True) as connection:
            found = connection.execute(
                "select sync_state from pg_stat_replication where state = 'streaming'"
            ).fetchall()
            return found == [("sync",)]

    def promote(self) -> None:
        """Kills the primary for good, as if its machine was lost, and promotes the standby.

        The new primary has no standby and waits for none, until start_standby() copies one. What the lost machine had is kept
        in the folder as NAME.lost, until the next one is lost.
        """
        lost = self.primary
        self.kill(lost)
        away = self.folder / f"{lost}.lost"
        shutil.rmtree(away, ignore_errors=True)
        self._data(lost).rename(away)
        self.primary = self.standby
        self._set_synchronous("")
        with psycopg.connect(self.url_of(self.primary), autocommit=True) as connection:
            promoted = connection.execute("select pg_promote()").fetchone()
        if promoted != (True,):
            raise EmbeddedError(f"{self.primary} was not promoted; its log is {self._log(self.primary)}")

    def kill(self, name: str) -> None:
        """Kills a Postgres (SIGKILL) with all its processes."""
        server = self.children[name].process
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        server.kill()
        server.wait()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), f"{name} does not end")

    def restart(self, name: str) -> None:
        """Starts a Postgres that was killed on its data, and waits until it answers."""
        data, log = self._data(name), self._log(name)
        options = _REPLICATED | {"port": _PORTS[name]}
        child = serve_postgres(name, data, self._sockets, options, log=log, lock=self._lock)
        self.children[name] = child
        child.wait_until(lambda: postgres_answers(self.url_of(name)))

    def _last_primary(self) -> str:
        made = [name for name in _PORTS if self._data(name).exists()]
        primaries = [name for name in made if not (self._data(name) / "standby.signal").exists()]
        return next(iter(primaries or made or _PORTS))  # one alone is a standby that was to be promoted

    def _data(self, name: str) -> Path:
        return self.folder / name

    def _log(self, name: str) -> Path:
        return self.folder / f"log/{name}.log"

    def _stop_children(self) -> None:
        for name in (self.primary, self.standby):  # the primary first, because its last commits wait for the standby
            if child := self.children.get(name):
                child.stop()

    def _set_synchronous(self, names: str) -> None:
        with psycopg.connect(self.url_of(self.primary), autocommit=True) as connection:
            connection.execute(f"alter system set synchronous_standby_names = '{names}'".encode())
            connection.execute("select pg_reload_conf()")
