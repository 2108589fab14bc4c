"""Where a running Antrian leaves its keys, and the NIKs of people who booked or were refused: nowhere in clear."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
import psycopg
import pytest
from redis import Redis

from antrian.local.secret_files import RUN_SECRETS
from antrian.local.stack import Stack
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED
from clients.sdk.booking_client import BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd
from tests.support.town import redis_admin_url

_PROGRAMS = ("server", "workers", "gateway")
_ABORTS = """
import os, resource
_, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
from antrian.process import forbid_core_dumps, hide_memory
{first}
os.abort()
"""


@pytest.fixture(scope="module")
def stack(start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with all of its programs, one minute into the window."""
    return start_stack(opens + timedelta(minutes=1), metrics=True, gateway=True)


def processes(stack: Stack) -> Iterator[psutil.Process]:
    """Its programs, and their children."""
    for name in _PROGRAMS:
        program = psutil.Process(stack.pids()[name])
        yield program
        yield from program.children(recursive=True)


def files(folder: Path) -> Iterator[Path]:
    """All files below a folder that are not sockets, apart from those that are there to keep the keys."""
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "secrets.json" and file.parent.name != RUN_SECRETS:
            yield file


def found(needles: list[bytes], haystack: bytes) -> list[bytes]:
    """Those that are in it."""
    return [needle for needle in needles if needle in haystack]


def value_of(redis: Redis, key: bytes) -> object:
    """The value of a key of any type."""
    read: dict[bytes, Callable[[], object]] = {
        b"hash": lambda: redis.hgetall(key),
        b"set": lambda: redis.smembers(key),
        b"zset": lambda: redis.zrange(key, 0, -1, withscores=True),
        b"stream": lambda: redis.xrange(key),
        b"list": lambda: redis.lrange(key, 0, -1),
        b"string": lambda: redis.get(key),
        b"none": lambda: None,
    }
    kind: Any = redis.type(key)
    return read[kind]()


def everything(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """All that a running Antrian leaves where others may read it, by name: files, stores, environments and arguments."""
    for file in files(stack.folder):
        with suppress(FileNotFoundError):  # Postgres has just removed it
            yield str(file), file.read_bytes()
    for process in processes(stack):
        for name in ("environ", "cmdline"):
            yield f"{name} of {process.pid}", Path(f"/proc/{process.pid}/{name}").read_bytes()
    with Redis.from_url(redis_admin_url(stack)) as redis:
        for key in redis.scan_iter(count=1000):
            yield f"Redis {key!r}", key + repr(value_of(redis, key)).encode()
        yield "Redis's slow log", repr(redis.slowlog_get(1000)).encode()
    with psycopg.connect(stack.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        tables = ledger.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = ledger.execute(f"select t::text from {table} t").fetchall()
            yield f"table {table}", repr(rows).encode()


def test_no_key_is_in_the_environment_of_a_program_nor_in_a_file_of_another_purpose(stack: Stack) -> None:
    kept = json.loads((stack.folder / "secrets.json").read_text())
    keys = [kept[name].encode() for name in ("hash_key", "private_keys")]
    keys += [b64decode(key) for key in keys]
    assert len(list(processes(stack))) >= 5
    assert found(keys, (stack.folder / RUN_SECRETS / "antrian_hash_key").read_bytes())  # the search can find one
    assert [name for name, content in everything(stack) if found(keys, content)] == []
    assert not any(name.endswith("_KEY") for name in stack.environment)


def test_no_program_may_leave_a_core(stack: Stack) -> None:
    for process in processes(stack):
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        assert [line.split()[4:6] for line in limits if line.startswith("Max core file size")] == [["0", "0"]]


@pytest.mark.parametrize("first", ["forbid_core_dumps()", "hide_memory()", ""])
def test_a_core_is_left_only_without_our_precautions(tmp_path: Path, first: str) -> None:
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), sys.executable, "-c", _ABORTS.format(first=first)],
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    may_dump = resource.getrlimit(resource.RLIMIT_CORE)[1] != 0
    assert os.WCOREDUMP(status) == (not first and may_dump)


def test_another_process_of_the_same_user_cannot_read_a_hidden_memory() -> None:
    """Linux shows it in the owner of the files in /proc."""
    program = (
        "import antrian.process, ctypes; antrian.process.hide_memory(); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"  # PR_GET_DUMPABLE


async def refuse(client: BookingClient, crowd: Crowd, nik: str) -> None:
    """Has requests refused that have the NIK in each text of a request."""
    person = crowd.person()
    for changes in (
        {"account": nik},
        {"account": f"x-{nik}"},
        {"office_id": nik},
        {"request_id": nik},
        {"service_date": nik},
        {"applicants": [type(person)(nik=nik, full_name=nik)]},
        {"applicants": [type(person)(nik=nik, full_name="Siti Rahma"), type(person)(nik=nik, full_name="Siti")]},
        {"applicants": [type(person)(nik=nik[:-1] + "x", full_name=nik)]},
        {"applicants": [type(person)(nik=nik, full_name="Siti Rahma")], "service_date": "2020-01-01"},
        {"applicants": [type(person)(nik=nik, full_name="Siti Rahma")], "office_id": "kanim-none"},
        {"applicants": [type(person)(nik=nik, full_name="Siti Rahma")], "province_code": nik},
    ):
        with pytest.raises(RefusedError):
            await client.send(crowd.request(**changes))


async def refuse_staff(stack: Stack, nik: str) -> None:
    """Has changes of an office's staff refused that have the NIK in their texts."""
    async with OfficeClient(stack.address, english=True) as office:
        for staff, reason in ((nik, "sakit"), ("rina", nik), ("rina", f"NIK {nik[:4]}.{nik[4:10]}.{nik[10:]}")):
            with pytest.raises(RefusedError):
                await office.release_booking(PUSAT, "7FYANWFXXT", staff=staff, reason=reason)


async def refuse_over_http(stack: Stack, nik: str) -> None:
    """Has requests refused that have the NIK in each part of an HTTP request."""
    url, here = f"http://{stack.http_address}", {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as http:
        for method, path, body, headers in (
            ("GET", f"/{nik}", "", {}),
            ("GET", f"/v1/bookings?account={nik}", "", {}),
            ("GET", f"/v1/offices/{nik}/quota", "", {}),
            ("GET", f"/v1/bookings/{nik}?account=a&{nik}={nik}", "", {"X-Request-Id": nik}),
            ("POST", "/v1/bookings", f'{{"{nik}": "{nik}"}}', here | {"Idempotency-Key": nik}),
            ("POST", "/v1/bookings", f'{{"account": {nik}', here | {"traceparent": nik, "Authorization": nik}),
            ("POST", "/v1/bookings", nik, here | {"Content-Encoding": nik}),
            (nik, "/v1/bookings", "", {nik: nik}),
        ):
            async with http.request(method, url + path, data=body, headers=headers) as response:
                assert response.status >= 400
                assert nik not in await response.text()


async def refuse_bare_calls(stack: Stack, nik: str) -> None:
    """Has calls refused that have the NIK in their path, metadata and bytes."""
    metadata = (("x-request-id", nik), ("authorization", f"Bearer {nik}"), ("accept-language", nik))
    async with grpc.aio.insecure_channel(stack.address) as channel:
        for path in (f"/antrian.v1.BookingService/{nik}", "/antrian.v1.BookingService/RequestBooking"):
            call: Any = channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError):
                await call(nik.encode(), metadata=metadata, timeout=10)


async def test_no_nik_is_in_clear_in_any_file_store_or_environment(
    stack: Stack, client: BookingClient, crowd: Crowd
) -> None:
    people = crowd.people(40)
    sent = [crowd.request(applicants=people[n : n + 4]) for n in range(0, 40, 4)]
    booked = await asyncio.gather(*(client.send(request) for request in sent))
    outcomes = [
        await client.outcome(booking.booking_id, request.account) for booking, request in zip(booked, sent, strict=True)
    ]
    assert {booking.state for booking in outcomes} == {BOOKING_STATE_CONFIRMED}
    async with OfficeClient(stack.address, english=True) as office:
        await office.release_booking(PUSAT, outcomes[0].code, staff="rina", reason="surat dokter")
    stranger = crowd.person()
    await refuse(client, crowd, stranger.nik)
    await refuse_staff(stack, stranger.nik)
    await refuse_over_http(stack, stranger.nik)
    await refuse_bare_calls(stack, stranger.nik)
    niks = [person.nik.encode() for person in (*people, stranger)]
    names = [person.full_name.encode() for person in people]
    codes = [booking.code.encode() for booking in outcomes]
    searched = dict(everything(stack))
    assert len(searched) > 100
    accounts = [request.account.encode() for request in sent]
    assert any(found(accounts, content) for content in searched.values())  # the search sees what the stores hold
    assert [name for name, content in searched.items() if found([*niks, *names], content)] == []
    logs = [content for name, content in searched.items() if name.endswith(".log")]
    assert not any(found(codes, content) for content in logs)


async def test_a_refused_request_leaves_nothing_of_its_people(
    stack: Stack, client: BookingClient, crowd: Crowd
) -> None:
    keys, account = stack.settings.make_keys(), f"user-{uuid.uuid4().hex[:8]}"
    owner, booked, alone = crowd.person(), crowd.person(), crowd.person()
    booking = await client.send(crowd.request(applicants=[booked]))
    with pytest.raises(RefusedError) as refused:
        await client.send(crowd.request(applicants=[alone, booked], account=account))
    assert refused.value.reason == "ALREADY_BOOKED"
    with pytest.raises(RefusedError) as refused:
        await client.send(crowd.request(applicants=[owner], service_date="2020-01-01"))
    assert refused.value.reason != "ALREADY_BOOKED"
    traces = {
        name: [key, key.hex().encode(), repr(key)[2:-1].encode()]
        for name, key in (("refused", keys.applicant_key(alone.nik)), ("too early", keys.applicant_key(owner.nik)))
    }
    searched = dict(everything(stack))
    own = keys.applicant_key(booked.nik)
    assert booking.booking_id
    assert any(found([own, repr(own)[2:-1].encode()], content) for content in searched.values())
    for forms in traces.values():
        assert [name for name, content in searched.items() if found(forms, content)] == []
