"""`python -m tests.bench --only auth`: what authentication costs the accept rate.

Servers on the same stores take requests in turns: without a callers file, with the token of a caller, with tokens (JWT) of 15,000
persons, which were verified before, and with a new token for each call. Counted are calls for each second of processor time of
the server, as in `accept`.
"""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from antrian.local.stack import Stack
from antrian.offices.catalog import load_offices
from antrian.v1 import booking_service_pb2 as wire
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from tests.bench.accept import Calls, Target, in_turns
from tests.bench.folk import Townsfolk
from tests.bench.http_load import Load
from tests.bench.row import Plan, Row, row
from tests.bench.site import drained, on_one_core, site, step_aside
from tests.support.issuer import Issuer

COMMAND = "python -m tests.bench --only auth"
_TOKEN = "antr_" + "x" * 43
_PERSONS = 15_000  # each may book for five people
_NEW = 60_000  # more than a server remembers
_MOST_COST = 0.9


@contextmanager
def _server(stack: Stack, callers: str, folder: Path, name: str) -> Iterator[Target]:
    """A server on the stack's stores, with a callers file of that content if there is any."""
    file, ready = folder / f"{name}.toml", folder / f"{name}.ready"
    file.write_text(callers)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | stack.environment
    environment |= {"ANTRIAN_LISTEN": address, "ANTRIAN_READY_FILE": str(ready), "ANTRIAN_LOG_LEVEL": "ERROR"}
    if callers:
        environment["ANTRIAN_CALLERS_FILE"] = str(file)
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "server"]
    with subprocess.Popen(command, env=environment) as process:
        try:
            ends = time.monotonic() + 30
            while not ready.exists():
                if time.monotonic() > ends or process.poll() is not None:
                    raise TimeoutError("the server did not start")
                time.sleep(0.05)
            yield Target(address, process.pid)
        finally:
            process.kill()


def rows(plan: Plan) -> Iterator[Row]:
    """The accept rate with each kind of token beside that without."""
    loads: dict[str, list[Load]] = defaultdict(list)
    with ExitStack() as undo:
        folder = Path(undo.enter_context(TemporaryDirectory(prefix="antrian-bench-auth")))
        issuer, stack = Issuer(folder / "keys.json"), undo.enter_context(site())
        entry = '[[caller]]\nname = "app"\nrole = "gateway"\nvouches_for = "accounts"\ntoken_sha256 = "{}"\n'
        none = undo.enter_context(_server(stack, "", folder, "none"))
        token = undo.enter_context(
            _server(stack, entry.format(hashlib.sha256(_TOKEN.encode()).hexdigest()), folder, "token")
        )
        person = undo.enter_context(_server(stack, issuer.entry(), folder, "person"))
        stranger = undo.enter_context(_server(stack, issuer.entry("strangers"), folder, "stranger"))
        step_aside(stack, "workers", "postgres")
        undo.enter_context(on_one_core(stack, none.pid, token.pid, person.pid, stranger.pid))
        persons = [issuer.token(f"person-{n}") for n in range(_PERSONS)]
        _verified(person, persons)
        folk = iter(Townsfolk())
        each = {
            "no token": (_requests(folk), none),
            "a token": (replace(_requests(folk), tokens=repeat(_TOKEN)), token),
            "a person's token": (replace(_requests(folk, person=True), tokens=cycle(persons)), person),
        }
        if not plan.quick:
            new = [issuer.token(f"new-{n}") for n in range(_NEW)]
            each["a new person's token"] = replace(_requests(folk, person=True), tokens=cycle(new)), stranger
        for nth in range(plan.rounds):
            print(f"  round {nth + 1} of {plan.rounds}", file=sys.stderr, flush=True)
            drained(stack)
            for name, load in zip(each, in_turns(list(each.values())), strict=True):
                loads[name].append(load)
    free = [load.rate / load.spent[1] for load in loads.pop("no token")]
    for name, of in loads.items():
        target = None if "new" in name else _MOST_COST
        rates, busy = [load.rate / load.spent[1] for load in of], [load.spent[0] for load in of]
        title = f"RequestBooking with {name}"
        yield row(title, rates, "without a token", free, "calls/s a core", target, COMMAND, generator=busy)


def _verified(target: Target, tokens: Sequence[str]) -> None:
    """Makes a call with each token."""
    request = wire.GetQuotaRequest(office_id=load_offices()[0].office_id)
    with grpc.insecure_channel(target.address) as channel:
        call = BookingServiceStub(channel).GetQuota
        for first in range(0, len(tokens), 100):
            some = tokens[first : first + 100]
            for response in [call.future(request, metadata=(("authorization", f"Bearer {token}"),)) for token in some]:
                response.result()


def _requests(folk: Iterator[wire.RequestBookingRequest], *, person: bool = False) -> Calls:
    """Requests for new people. Those of a person name no account: the token does."""

    def messages() -> Iterator[bytes]:
        for message in folk:
            if person:
                message.account = ""
            yield message.SerializeToString()

    return Calls("RequestBooking", messages)
