"""Runs stores, server and workers on one machine, for `antrian up`, the demo and the tests."""

import base64
import json
import os
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from antrian.booking import Policy
from antrian.encryption import new_private_key, public_key_of
from antrian.lane.consumer import LaneConsumer
from antrian.ledger.keys import claim_keys, has_data
from antrian.ledger.migrate import migrate
from antrian.ledger.policies import claim_policy
from antrian.ledger.recorder import LedgerRecorder
from antrian.local.child import Child, hold
from antrian.local.embedded import EmbeddedStores
from antrian.local.heads import ensure_signing_key, heads_environment
from antrian.local.ports import FIRST_HTTP_PORT, listens, reserve_port
from antrian.local.private_file import write_private
from antrian.local.secret_files import RUN_SECRETS, secret_files
from antrian.offices.catalog import load_offices
from antrian.offices.provinces import load_provinces
from antrian.policy import load_policy
from antrian.rules import inventory_until, open_moment
from antrian.settings import Settings, SettingsError, WorkerSettings, given_keys, read_keys, settings_of

Open = Literal["open"]
OPEN: Open = "open"
"""The value of `clock` for a time at which booking is open."""

_GATEWAY_VARIABLES = ("ANTRIAN_GATEWAY_", "ANTRIAN_LOG_")
_SERVER_VARIABLES = {f"ANTRIAN_{name.upper()}" for name in Settings.model_fields.keys() - WorkerSettings.model_fields}
_USERS = {"server": "server", "workers": "worker"}
_MOST_DEATHS, _DEATHS_WITHIN = 5, 60.0
_CLOCK_AHEAD = timedelta(days=3653)


def check_clock(moment: datetime) -> None:
    """Raises ValueError if the moment is in the past or more than ten years ahead.

    The service's clock never goes back, so a mistyped year could not be undone, and holidays are not known that far ahead.
    """
    now = datetime.now(UTC)
    if moment < now:
        raise ValueError(f"{moment.isoformat()} is in the past; the service's clock only moves forward")
    if moment - now > _CLOCK_AHEAD:
        raise ValueError(
            f"{moment.isoformat()} is more than ten years ahead; the clock never goes back, so that would be for good"
        )


class Stack:
    """A running Antrian on this machine, with its data, secrets and logs below `folder`.

    As a context manager it starts all programs, waits until they are ready, and stops them at exit. It uses the stores at
    redis_url and database_url (both or neither), by default embedded ones. clock: moves the service's time there, forward
    only; OPEN moves it to the next opening unless booking stays open for another hour. port: the gRPC port, by default 7700
    or the next free one. replicas: how many replicas the embedded Redis has, see EmbeddedStores; one of them must have a request
    before it is accepted. gateway: whether to serve HTTP, on http_port, by default 7780 or the next free one. metrics:
    whether each program serves metrics, on a port of its own. Raises EmbeddedError, SettingsError, WrongPolicyError if the
    ledger's policy differs from ANTRIAN_POLICY_FILE or the shipped file, and the ledger's errors.

    address, http_address and metrics are the addresses of gRPC, HTTP and each program's metrics. environment has the
    variables (ANTRIAN_*) that operators' commands need; their users are Redis's operator and the owner of the tables. No secret
    key is among them: keys are in files, in the folder that ANTRIAN_SECRETS_DIR names. folder/run.json has the addresses and
    process ids while it runs.
    closed_lanes is the number of offices that need a rebuild, because Redis lacked ledger data at the start. wait() and
    tend() restart programs that die.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: datetime | Open | None = None,
        port: int | None = None,
        workers: int = 2,
        replicas: int | None = None,
        metrics: bool = False,
        gateway: bool = False,
        http_port: int | None = None,
        redis_url: str | None = None,
        database_url: str | None = None,
    ) -> None:
        if (redis_url is None) != (database_url is None):
            raise ValueError("give redis_url and database_url, or neither")
        self.folder = folder.absolute()
        self.address = self.http_address = ""
        self.environment: dict[str, str] = {}
        self.metrics: dict[str, str] = {}
        self.closed_lanes = 0
        self._clock, self._port, self._http_port, self._count = clock, port, http_port, workers
        self._with_metrics, self._names = metrics, ("workers", "server", *["gateway"] * gateway)
        self._redis_url, self._database_url = redis_url, database_url
        self._embedded = None if redis_url else EmbeddedStores(self.folder, replicas=replicas)
        self._programs: dict[str, Child] = {}
        self._keys: dict[str, str] = {}
        self._deaths: list[float] = []
        self._restarts: Counter[str] = Counter()
        self._lock = -1
        self._undo = ExitStack()

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and waits until it is ready. Call it in the main thread: see Child."""
        with ExitStack() as undo:
            for number in (signal.SIGINT, signal.SIGTERM):
                # SIGTERM works like Ctrl-C. Both work even if a shell's `&` has set them to be ignored.
                undo.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
            redis_url, database_url, self._lock = self._stores(undo)
            run = self.folder / "run.json"
            run.unlink(missing_ok=True)  # left behind by a killed Antrian
            port, claim = reserve_port(self._port)
            undo.enter_context(claim)
            self.address = f"127.0.0.1:{port}"
            if "gateway" in self._names:
                port, claim = reserve_port(self._http_port, FIRST_HTTP_PORT)
                undo.enter_context(claim)
                self.http_address = f"127.0.0.1:{port}"
            for name in self._names if self._with_metrics else ():
                port, claim = reserve_port(None)
                undo.enter_context(claim)
                self.metrics[name] = f"127.0.0.1:{port}"
            rq_redis_url = (
                self._embedded.redis_url_of("rq")
                if self._embedded
                else os.environ.get("ANTRIAN_RQ_REDIS_URL") or redis_url
            )
            migrate(database_url)
            self._keys = self._find_keys(database_url)
            given = {name: value for name, value in os.environ.items() if name.startswith("ANTRIAN_")}
            self.environment = {
                **{name: value for name, value in given.items() if name not in self._keys},
                **self._heads(),
                "ANTRIAN_SECRETS_DIR": str(undo.enter_context(secret_files(self.folder / RUN_SECRETS, self._keys))),
                "ANTRIAN_REDIS_URL": redis_url,
                "ANTRIAN_RQ_REDIS_URL": rq_redis_url,
                **({"ANTRIAN_REPLICAS": str(min(1, self._embedded.replicas))} if self._embedded else {}),
                "ANTRIAN_DATABASE_URL": database_url,
                "ANTRIAN_LISTEN": self.address,
                "ANTRIAN_EMBEDDED": "1",
                "ANTRIAN_WORKER_PROCESSES": str(self._count),
                "ANTRIAN_GATEWAY_LISTEN": self.http_address,
                "ANTRIAN_GATEWAY_TARGET": self.address,
            }
            claim_keys(database_url, self.settings.make_keys("public_key", "private_keys"))
            claim_policy(database_url, load_policy(self.settings.policy_file))
            self._prepare_stores(redis_url, database_url)
            self._start_programs(undo)
            undo.callback(run.unlink, missing_ok=True)
            self._write_run()
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Stops everything, the workers and stores last, so that waiting calls still get their outcome. Safe to repeat."""
        self._undo.close()

    def wait(self) -> None:
        """Returns on SIGINT or SIGTERM. Raises EmbeddedError if a process cannot be kept running.

        From start to stop both signals raise KeyboardInterrupt. A second signal speeds up the stop.
        """
        with suppress(KeyboardInterrupt):
            while True:
                self.tend()
                time.sleep(0.2)

    def tend(self) -> None:
        """Restarts programs that died, with a message on standard error, and rotates logs. Call it often, in the main thread.

        Raises EmbeddedError if a store died that has no replicas, or processes die too often.
        """
        for store in self._embedded.tend() if self._embedded else []:
            self._note_restart(store)
        for name, program in self._programs.items():
            if program.process.poll() is None:
                program.bound_log()
                continue
            self._programs[name] = self._start_program(name)
            self._note_restart(program)

    def _note_restart(self, ended: Child) -> None:
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < _DEATHS_WITHIN] + [now]
        if len(self._deaths) > _MOST_DEATHS:
            ended.check()
        self._restarts[ended.name] += 1
        print(f"restart {self._restarts[ended.name]} of {ended.name}: {ended.end}", file=sys.stderr, flush=True)
        self._write_run()

    @property
    def settings(self) -> Settings:
        """The settings with which to open the stores."""
        return settings_of(self.environment | self._keys)

    def pids(self) -> dict[str, int]:
        """Returns the running processes by name: "antrian" (this one), "server", "workers", embedded stores."""
        children = [*(self._embedded.children if self._embedded else ()), *self._programs.values()]
        return {"antrian": os.getpid()} | {child.name: child.process.pid for child in children}

    def _write_run(self) -> None:
        run = {
            "grpc": self.address,
            "http": self.http_address or None,
            "metrics": self.metrics or None,
            "redis": self.environment["ANTRIAN_REDIS_URL"],
            "replicas": self.settings.replicas,
            "rq_redis": self.environment["ANTRIAN_RQ_REDIS_URL"],
            "database": self.environment["ANTRIAN_DATABASE_URL"],
            "heads": self.environment.get("ANTRIAN_HEADS_FILE"),
            "pids": self.pids(),
            "restarts": dict.fromkeys(self._names, 0) | self._restarts,
        }
        write_private(self.folder / "run.json", json.dumps(run, indent=2))

    def set_clock(self, moment: datetime) -> None:
        """Moves the service's clock to the moment. Returns once every lane has counters for the coming weeks.

        Servers follow at once, since they read the time from the stores. Raises ValueError if the moment is in the past, and
        EmbeddedError if the workers do not follow.
        """
        ahead = moment - datetime.now(UTC)
        with self._open_stores() as (ledger, consumer):
            ledger.set_clock(ahead)
            consumer.set_clock(ahead)
            if workers := self._programs.get("workers"):
                offices, policy = [office.office_id for office in ledger.offices()], self.policy
                workers.wait_until(lambda: _has_counters(consumer, offices, policy))

    @property
    def replicas(self) -> int:
        """How many replicas the embedded Redis has."""
        return self._embedded.replicas if self._embedded else 0

    def now(self) -> datetime:
        """Returns the service's time."""
        with closing(LaneConsumer(self.environment["ANTRIAN_REDIS_URL"])) as consumer:
            return consumer.now()

    @property
    def policy(self) -> Policy:
        """The policy in force: the ledger's newest. Raises PolicyError."""
        with LedgerRecorder(self.environment["ANTRIAN_DATABASE_URL"]) as ledger:
            return ledger.policy() or load_policy(self.settings.policy_file)

    @contextmanager
    def _open_stores(self) -> Iterator[tuple[LedgerRecorder, LaneConsumer]]:
        with (
            LedgerRecorder(self.environment["ANTRIAN_DATABASE_URL"]) as ledger,
            closing(LaneConsumer(self.environment["ANTRIAN_REDIS_URL"])) as consumer,
        ):
            yield ledger, consumer

    def _stores(self, undo: ExitStack) -> tuple[str, str, int]:
        """Returns the addresses of the stores, and the lock for the children."""
        if self._redis_url and self._database_url:
            return self._redis_url, self._database_url, undo.enter_context(hold(self.folder))
        assert self._embedded
        stores = undo.enter_context(self._embedded)
        return stores.redis_url_of("operator"), stores.database_url_of("owner"), stores.lock

    def _find_keys(self, database_url: str) -> dict[str, str]:
        """Returns the environment's keys, else this folder's, which are created only before there are any bookings."""
        if given := given_keys():
            return given
        file = self.folder / "secrets.json"
        if not file.exists():
            if has_data(database_url):
                raise SettingsError(
                    f"{file} is missing, and without its keys the bookings in the stores cannot be read. Put the file "
                    'back, see "A key does not fit" in docs/runbook.md; `antrian reset` removes all bookings instead'
                )
            private = new_private_key()
            new = {"hash_key": secrets.token_bytes(32), "public_key": public_key_of(private), "private_keys": private}
            write_private(
                file, json.dumps({name: base64.b64encode(key).decode() for name, key in new.items()}, indent=2)
            )
        return read_keys(file)

    def _heads(self) -> dict[str, str]:
        """Returns where to sign heads: in this folder, unless the environment says where, or names the stores."""
        if self._embedded is None or "ANTRIAN_HEADS_FILE" in os.environ:
            return {}
        ensure_signing_key(self.folder)
        return heads_environment(self.folder)

    def _prepare_stores(self, redis_url: str, database_url: str) -> None:
        with LedgerRecorder(database_url) as ledger:
            if ledger.count_offices() == 0:
                ledger.upsert_offices(load_offices(), load_provinces().values())
            with closing(LaneConsumer(redis_url)) as consumer:
                consumer.set_clock(ledger.clock_ahead())
        if self._clock == OPEN:
            if (moment := open_moment(self.policy, now := self.now())) > now:
                self.set_clock(moment)
        elif self._clock is not None:
            self.set_clock(self._clock)

    def _start_programs(self, undo: ExitStack) -> None:
        ready = self.folder / "server.ready"
        ready.unlink(missing_ok=True)
        undo.callback(ready.unlink, missing_ok=True)
        # Callbacks run in reverse order: the gateway stops first, then the server, then the workers.
        for name in self._names:
            undo.callback(self._stop_program, name)
            self._programs[name] = self._start_program(name)
        self._programs["server"].wait_until(ready.exists)
        with self._open_stores() as (ledger, consumer):
            offices = [office.office_id for office in ledger.offices()]
            policy = self.policy
            self._programs["workers"].wait_until(lambda: _has_counters(consumer, offices, policy))
            self.closed_lanes = sum(not consumer.audit(office_id).opened for office_id in offices)
        if gateway := self._programs.get("gateway"):
            gateway.wait_until(lambda: listens(self.http_address))

    def _stop_program(self, name: str) -> None:
        if program := self._programs.pop(name, None):
            program.stop()

    def _start_program(self, name: str) -> Child:
        environment = {n: v for n, v in os.environ.items() if n not in self._keys} | self.environment
        if name == "workers":  # they need no key
            del environment["ANTRIAN_SECRETS_DIR"]
        if name == "gateway":  # the gateway needs no secrets
            environment = {
                n: v for n, v in environment.items() if not n.startswith("ANTRIAN_") or n.startswith(_GATEWAY_VARIABLES)
            }
        elif self._embedded:
            environment["ANTRIAN_REDIS_URL"] = self._embedded.redis_url_of(_USERS[name])
            environment["ANTRIAN_DATABASE_URL"] = self._embedded.database_url_of(_USERS[name])
        if name == "workers":
            environment = {n: v for n, v in environment.items() if n not in _SERVER_VARIABLES}
        return Child(
            name,
            self._command(name),
            log=self.folder / f"log/{name}.log",
            lock=self._lock,
            environment=environment
            | {
                "ANTRIAN_READY_FILE": str(self.folder / "server.ready"),
                "ANTRIAN_METRICS_LISTEN": self.metrics.get(name, ""),
            },
            # The workers' child processes do not inherit our lock, so their parent gets SIGTERM, to end them first.
            dies_by="TERM" if name == "workers" else "KILL",
        )

    def _command(self, name: str) -> list[str]:
        module = "clients.gateway" if name == "gateway" else name
        # -P: do not import a folder of that name from the working directory
        return [sys.executable, "-P", "-m", module]


def _has_counters(consumer: LaneConsumer, offices: Iterable[str], policy: Policy) -> bool:
    """Returns whether each open lane has counters up to the last day that will be bookable."""
    last_day = inventory_until(policy, consumer.now())
    lanes = (consumer.audit(office_id) for office_id in offices)
    return all(
        lane.known and (not lane.opened or any(slot.service_date == last_day for slot in lane.counters))
        for lane in lanes
    )
