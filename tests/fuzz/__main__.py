"""`python -m tests.fuzz`: atheris mutates the bytes of requests, led by what they reach in our code, until the time is over.

An input's first byte chooses the rpc and its second the headers; the rest is the request. The last third of the time is
schemathesis': it holds the gateway against its document.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import atheris
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.support.window import window_to_come

with atheris.instrument_imports(include=["server", "antrian"], exclude=["antrian.v1"]):
    from antrian.local.stack import Stack
    from antrian.settings import load_settings
    from tests.acceptance.person import Crowd
    from tests.fuzz.strategies import Known, known_values, messages
    from tests.fuzz.target import RPCS, TOKENS, BrokenError, Target
    from tests.gateway.test_schema import examine

_NAMES = list(RPCS)
_HEADERS = [
    [("authorization", f"Bearer {TOKENS[caller]}"), ("accept-language", language)]
    for caller in ("staff", "gateway", "internal")
    for language in ("id", "en")
]
_SEEDS = 20
_LONGEST_INPUT = 16 * 1024


def run(target: Target, data: bytes) -> str:
    """Makes the call that the input stands for; its outcome. Prints how to make it again when it breaks a promise."""
    rpc, headers, request = _parts(data)
    try:
        return f"{rpc}: {target.call(rpc, request, headers)}"
    except BrokenError:
        print(f"\n{rpc} with {headers} broke on the request {request.hex()}")
        print(f"again: python -m tests.fuzz --input {data.hex()}", flush=True)
        raise


def fuzz(target: Target, seconds: int, only: str | None, corpus: Path) -> None:
    """Does not return: libFuzzer ends the process, with 0 when the time is over."""
    seen = dict[str, int]()
    runs = 0

    def one(data: bytes) -> None:
        nonlocal runs
        runs += 1
        outcome = run(target, _for(only, data))
        if outcome not in seen:
            seen[outcome] = runs
            print(f"run {runs}: first {outcome}", flush=True)

    _write_seeds(target, [only] if only else _NAMES, corpus)
    options = {
        "max_total_time": seconds,
        "max_len": _LONGEST_INPUT,
        "timeout": 60,
        "print_final_stats": 1,
        "reduce_inputs": 0,
        "artifact_prefix": f"{corpus}/",
    }
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)]
    atheris.Setup(arguments, one, custom_mutator=_mutate)
    atheris.Fuzz()


def _for(only: str | None, data: bytes) -> bytes:
    return bytes([_NAMES.index(only)]) + data[1:] if only else data


def _parts(data: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    first, second = data[:2].ljust(2, b"\0")
    return _NAMES[first % len(_NAMES)], _HEADERS[second % len(_HEADERS)], data[2:]


def _write_seeds(target: Target, rpcs: list[str], corpus: Path) -> None:
    known = known_values(target)
    for rpc in rpcs:
        for number, request in enumerate(_requests(rpc, known)):
            start = bytes([_NAMES.index(rpc), number % len(_HEADERS)])
            (corpus / f"seed-{rpc}-{number}").write_bytes(start + request)


def _requests(rpc: str, known: Known) -> list[bytes]:
    found: list[bytes] = []

    @seed(1)
    @settings(
        max_examples=_SEEDS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(RPCS[rpc].input_type, known))
    def keep(message: Message) -> None:
        found.append(message.SerializeToString())

    keep()
    return found


def _mutate(data: bytes, most: int, number: int) -> bytes:
    """Half of the time one text inside of the message: another length of it would else break the message around it."""
    choice = random.Random(number)
    if choice.random() < 0.5:
        try:
            message = GetMessageClass(RPCS[_parts(data)[0]].input_type).FromString(data[2:])
        except DecodeError:
            return bytes(atheris.Mutate(data, most))
        if texts := list(_texts(message)):
            holder, name = choice.choice(texts)
            text = getattr(holder, name).encode()
            setattr(holder, name, atheris.Mutate(text, len(text) + 64).decode(errors="replace"))
            return (data[:2] + message.SerializeToString())[:most]
    return bytes(atheris.Mutate(data, most))


def _texts(message: Message) -> Iterator[tuple[Message, str]]:
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if field.is_repeated else [value]:
                yield from _texts(part)
        elif field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            yield message, field.name


def _in_a_stack(arguments: list[str], over_http: int) -> int:
    """Starts an Antrian a minute into its window, and this program again on it; libFuzzer would leave no time to stop it.

    Then schemathesis has its seconds.
    """
    window = window_to_come()
    crowd = Crowd(random.getrandbits(64), window.dates)
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder), clock=window.opens_at + timedelta(minutes=1), gateway=True) as stack,
    ):
        # A --corpus of the arguments comes after ours, so it is the one that counts.
        command = [sys.executable, "-m", "tests.fuzz", "--here", "--corpus", f"{folder}/corpus", *arguments]
        failed = subprocess.run(command, env=os.environ | stack.environment, check=False).returncode
        if not failed and over_http:
            failed = int(examine(stack.http_address, crowd, "--max-time", str(over_http))["exit_code"])
        return failed


def main() -> int:
    """Exits 0 when nothing broke."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="how long (default: 600)")
    parser.add_argument("--only", choices=_NAMES, metavar="RPC", help="fuzz this rpc alone")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps interesting inputs, and what broke")
    parser.add_argument("--input", type=bytes.fromhex, metavar="HEX", help="only make this call again")
    parser.add_argument("--here", action="store_true", help="on the running Antrian that ANTRIAN_* names")
    chosen: Any = parser.parse_args()
    if not chosen.here:
        over_http = 0 if chosen.only or chosen.input is not None else chosen.seconds // 3
        return _in_a_stack([*sys.argv[1:], "--seconds", str(chosen.seconds - over_http)], over_http)
    with Target(load_settings().model_copy(update={"gather_ms": 0})) as target:
        if chosen.input is not None:
            print(run(target, chosen.input))
        else:
            chosen.corpus.mkdir(parents=True, exist_ok=True)
            fuzz(target, chosen.seconds, chosen.only, chosen.corpus)
    return 0


if __name__ == "__main__":
    sys.exit(main())
