"""A Redis primary with replicas and three sentinels on one machine, from the wheel. Linux only, like the embedded stores."""

import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import socket
from typing import Any, NamedTuple

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.utils import str_if_bytes

from antrian.local.child import READY_WITHIN, Child, EmbeddedError, wait_for
from antrian.local.ports import reserve_port
from antrian.local.redis_users import ADMIN, kept_passwords, write_acl
from antrian.local.wheels import ENVIRONMENT, REDIS_OPTIONS, redis_binary

SERVICE = "antrian"
"""The name by which sentinels know the primary."""

_FIRST_PORT = 7800
_SENTINELS, _QUORUM = 3, 2
_ANSWERS_WITHIN = 0.5
_RESTART_AFTER = 5.0  # seconds, so that another Redis takes over before the old primary is back
_ACKNOWLEDGED_WITHIN = 300  # milliseconds, fewer than a client waits
# The data of a Redis that starts are copied at once, not after the five seconds in which others might join in.
_REPLICATED = (*REDIS_OPTIONS, "--repl-diskless-sync-delay", "0")
# In milliseconds. A sentinel asks a new primary for the first time after a second, so with one second it would often take it
# to be down right after a failover, and begin another. An attempt at a failover that came to nothing, such as a tied vote, is repeated after twice its timeout.
_SENTINEL = {"down-after-milliseconds": 2000, "failover-timeout": 2000, "parallel-syncs": 1}


class Host(NamedTuple):
    """Where a Redis and a sentinel run."""

    address: str = "127.0.0.1"
    enter: Sequence[str] = ()
    """The beginning of a command that runs a program there."""
    link: Callable[[int], int] = int
    """Returns the port by which others reach a port of this host, if it is another one, such as that of a proxy.

    It has to be the same at each start on a folder.
    """


def kept_replicas(folder: Path) -> int | None:
    """Returns how many replicas the ReplicatedRedis has that was started on this folder; None if none was."""
    if not (folder / f"sentinel-{_SENTINELS}").exists():
        return None
    return len(list(folder.glob("redis-*"))) - 1


class ReplicatedRedis:
    """A Redis primary, replicas of it and three sentinels, with their data below `folder` and their logs in `folder/log`.

    As a context manager it starts them, waits until all replicas follow and all sentinels know one another, and stops them at
    exit. lock: see Child. hosts: where they run, by default all on loopback; each host has a Redis, and the first three a
    sentinel. binary: another valkey-server or redis-server than the wheel's. Raises EmbeddedError.

    The processes are named redis-1, redis-2, ... and sentinel-1 to sentinel-3. Clients need the user and the password in `url`
    or url_of(), the sentinels' address. Ports, passwords and roles stay with the folder.
    """

    def __init__(
        self,
        folder: Path,
        lock: int,
        *,
        replicas: int = 2,
        hosts: Sequence[Host] = (),
        binary: Path | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.replicas = replicas
        self.ports: dict[str, int] = {}
        self.children: dict[str, Child] = {}
        self._own_ports: dict[str, int] = {}
        self.passwords: dict[str, str] = {}
        self._lock, self._binary = lock, binary
        self._hosts = [*hosts, *[Host()] * (max(replicas + 1, _SENTINELS) - len(hosts))]
        self._nodes = [f"redis-{number}" for number in range(1, replicas + 2)]
        self._sentinels = [f"sentinel-{number}" for number in range(1, _SENTINELS + 1)]
        self._ended: dict[str, float] = {}
        self._undo = ExitStack()

    def __enter__(self) -> "ReplicatedRedis":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The sentinels and the service for who may do everything: see url_of."""
        return self.url_of(ADMIN)

    def url_of(self, user: str) -> str:
        """Returns the sentinels and the service: redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT,HOST:PORT/antrian/0.

        The user is one of antrian/data/users.acl, and known to the sentinels, too.
        """
        sentinels = ",".join("{}:{}".format(*self.address(name)) for name in self._sentinels)
        return f"redis+sentinel://{user}:{self.passwords[user]}@{sentinels}/{SERVICE}/0"

    def address(self, name: str) -> tuple[str, int]:
        """Returns the host and port of a process."""
        return self.host(name).address, self.ports[name]

    def own_address(self, name: str) -> tuple[str, int]:
        """Returns the host and port of a process for clients on its own host: they pass no link."""
        return self.host(name).address, self._own_ports[name]

    def host(self, name: str) -> Host:
        """Returns where a process runs."""
        return self._hosts[int(name.rpartition("-")[2]) - 1]

    def client(self, name: str) -> "Redis":
        """Returns a client of this process, which gives up after half a second and does not look for another primary."""
        host, port = self.address(name)
        return Redis(
            host,
            port,
            username=ADMIN,
            password=self.passwords[ADMIN],
            socket_timeout=_ANSWERS_WITHIN,
            socket_connect_timeout=_ANSWERS_WITHIN,
            retry=Retry(NoBackoff(), 0),
        )

    def start(self) -> None:
        """Starts all and waits until they are ready. Call it in the main thread: see Child."""
        is_new = not self._file(self._sentinels[-1]).exists()
        with ExitStack() as undo:
            self.passwords = kept_passwords(self.folder)
            for name in (*self._nodes, *self._sentinels):
                undo.enter_context(self._reserve_port(name))
            undo.callback(self._stop_children)
            for name in self._nodes:
                self._configure(name, self._redis_lines(name))
                self.restart(name)
            for name in self._nodes:
                self.children[name].wait_until(lambda: self._answers(name))  # noqa: B023 - called at once
            if is_new:  # because a sentinel asks a primary for its replicas when it starts, and then each ten seconds
                self._wait_for(lambda: self._has_replicas(self._nodes[0]), "not all replicas follow the primary")
            for name in self._sentinels:
                self._configure(name, self._sentinel_lines(name))
                self.restart(name)
            self.wait_until_whole()
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Stops all, with all data on disk. Safe to repeat."""
        self._undo.close()
        self.children = {}

    def kill(self, name: str) -> None:
        """Kills a process (SIGKILL)."""
        self.children[name].process.kill()
        self.children[name].process.wait()

    def freeze(self, name: str) -> None:
        """Stops a process where it is (SIGSTOP): its connections stay open and nothing is answered."""
        self.children[name].process.send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Lets a frozen process go on (SIGCONT)."""
        self.children[name].process.send_signal(signal.SIGCONT)

    def restart(self, name: str) -> None:
        """Starts a process that was killed, with the settings and the data that it had.

        A former primary is a primary until the sentinels have seen it as such for eight seconds, then a replica.
        """
        mode = [f"{name}.conf", *(["--sentinel"] if name in self._sentinels else _REPLICATED)]
        command = [*self.host(name).enter, self._binary or redis_binary(), *mode]
        log = self.folder / f"log/{name}.log"
        cwd = self.folder / name
        self.children[name] = Child(name, command, log=log, lock=self._lock, cwd=cwd, environment=ENVIRONMENT)

    def tend(self) -> list[Child]:
        """Rotates logs, and restarts processes that ended five seconds ago. Call it often, in the main thread: see Child.

        Returns those that had ended.
        """
        ended = []
        for name, child in list(self.children.items()):
            if child.process.poll() is None:
                child.bound_log()
            elif time.monotonic() - self._ended.setdefault(name, time.monotonic()) >= _RESTART_AFTER:
                ended.append(child)
                del self._ended[name]
                self.restart(name)
        return ended

    def primary(self) -> str:
        """Returns the name of the primary by a majority of the sentinels. Raises EmbeddedError if there is no majority."""
        named = Counter(primary for name in self._sentinels if (primary := self._primary_by(name)))
        for primary, count in named.items():
            if count > _SENTINELS // 2:
                return primary
        raise EmbeddedError(f"no majority of the sentinels names a primary, but {dict(named)}")

    def is_whole(self) -> bool:
        """Returns whether all replicas follow the primary, and each sentinel knows them, the others and a quorum."""
        with suppress(EmbeddedError):
            return self._has_replicas(self.primary()) and all(map(self._agrees, self._sentinels))
        return False

    def wait_until_whole(self, within: float = READY_WITHIN) -> None:
        """Waits until every process is there and in its place: see is_whole. Raises EmbeddedError."""
        self._wait_for(self.is_whole, "not all are there and agree", within)

    def wait_for_failover(self, old: str, within: float = READY_WITHIN) -> str:
        """Returns the new primary, once a majority names another one than `old` and it says so itself. Raises EmbeddedError."""
        self._wait_for(lambda: self._has_other_primary(old), f"no other primary than {old}", within)
        return self.primary()

    def _wait_for(self, condition: Callable[[], bool], problem: str, within: float = READY_WITHIN) -> None:
        wait_for(condition, f"{problem}, see {self.folder / 'log'}:", within)

    def _stop_children(self) -> None:
        for name in (*self._sentinels, *self._nodes):  # the sentinels first, so that none of them begins a failover
            if child := self.children.get(name):
                child.process.send_signal(signal.SIGCONT)
                child.stop()

    def _file(self, name: str) -> Path:
        return self.folder / name / f"{name}.conf"

    def _kept(self, name: str, setting: str) -> str:
        """Returns what the last start has set; empty if there was none."""
        file = self._file(name)
        found = re.search(rf'^{setting} "?(\w+)', file.read_text() if file.exists() else "", re.MULTILINE)
        return found[1] if found else ""

    def _reserve_port(self, name: str) -> socket:
        kept = self._kept(name, "port")
        try:
            self._own_ports[name], claim = reserve_port(int(kept) if kept else None, _FIRST_PORT)
        except EmbeddedError as error:
            known = f"{error}, by which the others know {name} of {self.folder}: stop the program that uses it"
            raise EmbeddedError(known if kept else str(error)) from None
        self.ports[name] = self.host(name).link(self._own_ports[name])
        return claim

    def _configure(self, name: str, lines: Sequence[str]) -> None:
        """Writes the settings of a new process. They are its own from then on: it changes them at a failover."""
        file = self._file(name)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        template = "sentinel_users.acl" if name in self._sentinels else "users.acl"
        write_acl(file.with_name("users.acl"), self.passwords, template)
        if file.exists():
            return
        host, port = self.own_address(name)
        # A file, because others can read the arguments of a command.
        new = file.with_suffix(".new")
        new.write_text("\n".join((f"bind {host}", f"port {port}", "aclfile users.acl", *lines, "")))
        new.replace(file)

    def _redis_lines(self, name: str) -> list[str]:
        first = self._nodes[0]
        return [
            "masteruser replica",
            f"masterauth {self.passwords['replica']}",
            *self._announced(name, "replica-announce"),
            *([f"replicaof {self._place(first)}"] if name != first else []),
        ]

    def _sentinel_lines(self, name: str) -> list[str]:
        return [
            *self._announced(name, "sentinel announce"),
            "sentinel sentinel-user sentinel",
            f"sentinel sentinel-pass {self.passwords['sentinel']}",
            f"sentinel monitor {SERVICE} {self._place(self._nodes[0])} {_QUORUM}",
            f"sentinel auth-user {SERVICE} sentinel",
            f"sentinel auth-pass {SERVICE} {self.passwords['sentinel']}",
            *(f"sentinel {option} {SERVICE} {value}" for option, value in _SENTINEL.items()),
        ]

    def _announced(self, name: str, option: str) -> list[str]:
        host, port = self.address(name)
        return [f"{option}-ip {host}", f"{option}-port {port}"]

    def _place(self, name: str) -> str:
        return "{} {}".format(*self.address(name))

    def _answers(self, name: str) -> bool:
        with suppress(RedisError), self.client(name) as client:
            return bool(client.ping())
        return False

    def _has_replicas(self, name: str) -> bool:
        """Returns whether all replicas acknowledge what this one writes: a message, since that changes no data.

        Valkey's replicas are "online" up to a second before they acknowledge anything.
        """
        with suppress(RedisError), self.client(name) as client:
            client.publish(SERVICE, "")
            return bool(client.wait(self.replicas, _ACKNOWLEDGED_WITHIN) == self.replicas)
        return False

    def _agrees(self, name: str) -> bool:
        with suppress(RedisError), self.client(name) as client:
            state: dict[str, Any] = client.execute_command("SENTINEL MASTER", SERVICE)
            known = state["num-slaves"], state["num-other-sentinels"], state["flags"]
            client.execute_command("SENTINEL CKQUORUM", SERVICE)  # an error if there is none
            return known == (self.replicas, _SENTINELS - 1, "master")
        return False

    def _primary_by(self, sentinel: str) -> str:
        with suppress(RedisError), self.client(sentinel) as client:
            if told := client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE):
                at = str_if_bytes(told[0]), int(told[1])
                return next((name for name in self._nodes if self.address(name) == at), "")
        return ""

    def _has_other_primary(self, old: str) -> bool:
        with suppress(EmbeddedError, RedisError):
            if (name := self.primary()) != old:
                with self.client(name) as client:
                    role: Any = client.role()
                    return bool(str_if_bytes(role[0]) == "master")
        return False
