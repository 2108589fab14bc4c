"""The stores of the profile ha: replicas that follow, and what becomes of them when a primary is killed."""

import time
from collections.abc import Callable

from tests.compose.engine import ComposeError
from tests.compose.project import Project

_SENTINELS = ("sentinel-1", "sentinel-2", "sentinel-3")
_REDIS = ("redis", "redis-2", "redis-3")
_POSTGRES = ("postgres", "postgres-2")
_WITHIN = 60


class Replicas:
    """Each of its methods raises ComposeError when the stores are not as they should be."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def up(self) -> None:
        """Starts everything with the settings of docs/deploy.md."""
        self._project.use_replicas()
        self._project.up()

    def check(self) -> None:
        """Waits until each Redis has what is written, the sentinels agree, and each commit waits for the standby."""
        primary = self._primary()
        self._redis(primary, "set", "written", primary)
        self._until(f"both replicas of {primary} follow", lambda: self._redis(primary, "wait", "2", "500") == "2")
        for name in _SENTINELS:
            self._until(f"{name} knows a quorum", lambda: self._sentinel(name, "ckquorum").startswith("OK 3 "))  # noqa: B023 - called at once
        for name in _REDIS:
            self._until(f"{name} has what was written", lambda: self._redis(name, "get", "written") == primary)  # noqa: B023 - called at once
        states = "select string_agg(sync_state, ',') from pg_stat_replication where state = 'streaming'"
        writer = self._writer()
        self._until(f"one standby of {writer} is synchronous", lambda: self._sql(writer, states) == "sync")

    def kill_redis(self) -> None:
        """Kills the primary: the sentinels promote a replica that has all, and the killed one follows it."""
        old = self._primary()
        self._project.compose("kill", old)
        self._until("the sentinels name another primary", lambda: self._primary() != old)
        new = self._primary()
        self._until(f"{new} takes writes", lambda: self._redis(new, "set", "after", "1") == "OK")
        if (found := self._redis(new, "get", "written")) != old:
            raise ComposeError(f"{new} has {found!r}, not what {old} had")
        self._project.up(old)
        self._until(f"{old} follows", lambda: self._redis(old, "role").startswith("slave"))

    def kill_postgres(self) -> None:
        """Kills the primary and promotes the standby: it has all, and the killed one does not start but as a new copy."""
        old = self._writer()
        (new,) = {*_POSTGRES} - {old}
        self._sql(old, "create table written as select 1 as number")
        self._project.compose("kill", old)
        self._sql(new, "select pg_promote()")
        self._until(f"{new} takes writes", lambda: self._writer() == new)
        if (found := self._sql(new, "select number from written")) != "1":
            raise ComposeError(f"{new} has {found!r}, not what {old} had")
        self._project.compose("up", "--detach", "--no-build", old)
        refusal = f"{new} is the primary now"
        self._until(f"{old} refuses to start", lambda: refusal in self._project.compose("logs", old))
        self._project.compose("rm", "--stop", "--force", old)
        self._project.remove_volume(old)
        self._project.up(old)

    def _primary(self) -> str:
        """The primary of Redis, by a majority of the sentinels."""
        named = [self._sentinel(name, "get-master-addr-by-name").partition("\n")[0] for name in _SENTINELS]
        return max(named, key=named.count)

    def _writer(self) -> str:
        """The Postgres that takes writes."""
        for name in _POSTGRES:
            if self._try_sql(name, "select pg_is_in_recovery()") == "f":
                return name
        raise ComposeError("no Postgres takes writes")

    def _redis(self, name: str, *words: str) -> str:
        return self._project.execute(name, "redis-cli", *words)

    def _sentinel(self, name: str, command: str) -> str:
        return self._project.execute(name, "redis-cli", "-p", "26379", "sentinel", command, "antrian")

    def _sql(self, name: str, statement: str) -> str:
        return self._project.execute(
            name, "psql", "--username=antrian", "--no-align", "--tuples-only", f"--command={statement}"
        )

    def _try_sql(self, name: str, statement: str) -> str | None:
        try:
            return self._sql(name, statement)
        except ComposeError:  # it is down
            return None

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + _WITHIN
        while not condition():
            if time.monotonic() > ends:
                raise ComposeError(f"not within {_WITHIN} s: {what}")
            time.sleep(0.2)
