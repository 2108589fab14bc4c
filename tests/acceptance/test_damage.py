"""`antrian up` on a folder with lost or damaged files names them, and the remedy that it prints works."""

import asyncio
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from antrian import rules
from antrian.local.child import UnsupportedStoreError
from antrian.local.embedded import EmbeddedStores
from antrian.local.private_file import write_private
from antrian.local.stack import Stack
from antrian.policy import load_policy
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, Booking
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.person import Crowd

LOG = "redis/appendonlydir"
WAY_ON = "Move that folder away and start again, then `antrian rebuild` restores Redis from the ledger"


def antrian(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    named = {"ANTRIAN_REDIS_URL", "ANTRIAN_DATABASE_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in named}
    return subprocess.run(
        [sys.executable, "-m", "clients.cli", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def crowd(opens: datetime) -> Crowd:
    return Crowd(1, rules.next_window(load_policy(), opens).dates)


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory, opens: datetime, crowd: Crowd) -> tuple[Path, Booking]:
    """A folder on which an Antrian has run, and a booking that it accepted."""
    folder = tmp_path_factory.mktemp("damaged")

    async def book(address: str) -> Booking:
        async with BookingClient(address) as client:
            sent = await client.send(crowd.request(account="dewi", applicants=crowd.people(1)))
            return await client.outcome(sent.booking_id, "dewi")

    with Stack(folder, clock=opens + timedelta(minutes=1), workers=1) as stack:
        return folder, asyncio.run(book(stack.address))


@contextmanager
def put_back(file: Path) -> Iterator[None]:
    """Restores the file afterwards."""
    content = file.read_bytes()
    try:
        yield
    finally:
        file.write_bytes(content)


def test_without_its_keys_antrian_refuses_to_start_and_creates_none(booked: tuple[Path, Booking]) -> None:
    file = booked[0] / "secrets.json"
    with put_back(file):
        file.unlink()
        done = antrian("up", "--folder", booked[0])
        assert done.returncode == 2
        assert f"{file} is missing" in done.stderr
        assert '"A key does not fit" in docs/runbook.md; `antrian reset`' in done.stderr
        assert not file.exists()


def test_a_damaged_key_file_is_named(booked: tuple[Path, Booking]) -> None:
    file = booked[0] / "secrets.json"
    with put_back(file):
        write_private(file, "")
        done = antrian("up", "--folder", booked[0])
    assert done.returncode == 2
    assert f"{file} cannot be read" in done.stderr


def test_antrian_refuses_to_start_with_the_keys_of_another_ledger(booked: tuple[Path, Booking]) -> None:
    file = booked[0] / "secrets.json"
    with put_back(file):
        keys = json.loads(file.read_text())
        write_private(file, json.dumps(keys | {"hash_key": b64encode(b"x" * 32).decode()}))
        done = antrian("up", "--folder", booked[0])
    assert done.returncode == 2
    assert "the hash key (ANTRIAN_HASH_KEY) is not the one that made the data in this ledger" in done.stderr


def garbage_at_the_tail(log: Path) -> None:
    with next(log.glob("*.incr.aof")).open("ab") as file:
        file.write(bytes(range(1, 200)))


def one_byte_flipped(log: Path) -> None:
    file = next(log.glob("*.incr.aof"))
    content = bytearray(file.read_bytes())
    content[content.index(b"*", len(content) // 2)] ^= 1
    file.write_bytes(content)


def no_list_of_its_files(log: Path) -> None:
    next(log.glob("*.manifest")).write_text("file 1\n")


def no_base(log: Path) -> None:
    next(log.glob("*.base.rdb")).write_bytes(b"VALKEY080 and no more")


@pytest.mark.parametrize("damage", [garbage_at_the_tail, one_byte_flipped, no_list_of_its_files, no_base])
def test_an_unreadable_redis_log_is_reported_with_its_remedy(
    booked: tuple[Path, Booking], damage: Callable[[Path], None]
) -> None:
    log = booked[0] / LOG
    whole = {file: file.read_bytes() for file in log.iterdir()}
    damage(log)
    try:
        with pytest.raises(UnsupportedStoreError) as caught:
            EmbeddedStores(booked[0]).start()
    finally:
        for file, content in whole.items():
            file.write_bytes(content)
    assert f"Redis's own log below {log} is damaged. {WAY_ON}" in str(caught.value)


def test_the_remedy_for_a_damaged_log_keeps_everything_in_the_ledger(
    booked: tuple[Path, Booking], crowd: Crowd
) -> None:
    folder, booking = booked
    garbage_at_the_tail(folder / LOG)
    refused = antrian("up", "--folder", folder)
    assert refused.returncode == 2
    assert WAY_ON in refused.stderr
    (folder / LOG).rename(folder / "damaged")

    async def ask(address: str) -> tuple[Booking, str]:
        async with BookingClient(address, patience=timedelta(seconds=1)) as client:
            with pytest.raises(RefusedError) as again:
                await client.send(crowd.request(account="ani", applicants=Crowd(1, crowd.dates).people(1)))
            return await client.get_booking(booking.booking_id, "dewi"), again.value.reason

    with Stack(folder, workers=1) as stack:
        assert stack.closed_lanes == 185
        assert asyncio.run(ask(stack.address))[1] == "LANE_CLOSED"
        rebuilt = antrian("rebuild", "--folder", folder)
        assert rebuilt.returncode == 0, rebuilt.stderr
        now, again = asyncio.run(ask(stack.address))
        verified = antrian("verify", "--folder", folder)
    assert (now.state, now.code) == (BOOKING_STATE_CONFIRMED, booking.code)
    assert again == "ALREADY_BOOKED"
    assert verified.returncode == 0, verified.stdout


def test_an_unreadable_policy_file_is_reported_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("version =")
    monkeypatch.setenv("ANTRIAN_POLICY_FILE", str(policy))
    done = antrian("up", "--folder", tmp_path / "folder")
    assert done.returncode == 2
    assert f"{policy}: cannot be read" in done.stderr
