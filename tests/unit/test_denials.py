"""Denials: what the security log and the metrics say of them, and how addresses with many failures have to wait."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from antrian.callers_file import Role
from antrian.errors import AntrianError, Reason
from antrian.logs import FewLines, JsonLines
from server.address import PEER, address_prefix, client_network
from server.attempts import Attempts
from server.caller import CALLER, Caller
from server.denied import DeniedError
from server.security_log import log_denial

RPC = "/antrian.v1.BookingService/GetQuota"


@contextmanager
def called_from(peer: str) -> Iterator[None]:
    """A call from that peer."""
    token = PEER.set(lambda: peer)
    yield
    PEER.reset(token)


@pytest.mark.parametrize(
    ("peer", "counted", "logged"),
    [
        ("ipv4:192.0.2.77:53422", "192.0.2.77/32", "192.0.2.0/24"),
        ("ipv6:%5B2001:db8:1:2:3::9%5D:53422", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("ipv6:[::ffff:192.0.2.77]:53422", "192.0.2.77/32", "192.0.2.0/24"),
        ("unix:/run/antrian.sock", "unix", "unix"),
        ("", "unknown", "unknown"),
    ],
)
def test_addresses_are_counted_by_client_and_logged_by_network(peer: str, counted: str, logged: str) -> None:
    with called_from(peer):
        assert (client_network(), address_prefix()) == (counted, logged)


def denials(caller: str, reason: str) -> float:
    return REGISTRY.get_sample_value("antrian_denials_total", {"caller": caller, "reason": reason}) or 0


def test_a_denial_is_counted_and_logged_with_its_caller_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    before = denials("mobile", "PERMISSION_DENIED")
    known = CALLER.set(Caller("mobile", frozenset({Role.GATEWAY})))
    with called_from("ipv4:192.0.2.77:53422"), caplog.at_level(logging.WARNING):
        log_denial(DeniedError(Reason.PERMISSION_DENIED, "another account", field="account"), RPC)
        log_denial(AntrianError(Reason.BARRED), RPC)
    CALLER.reset(known)
    assert denials("mobile", "PERMISSION_DENIED") == before + 1
    [record] = caplog.records
    line = JsonLines().format(record)
    for part in (
        '"logger": "antrian.security"', '"message": "PERMISSION_DENIED for mobile: another account"',
        '"caller": "mobile"', '"reason": "PERMISSION_DENIED"', f'"rpc": "{RPC}"', '"address": "192.0.2.0/24"',
    ):  # fmt: skip
        assert part in line
    assert "192.0.2.77" not in line


def test_a_flood_of_one_kind_leaves_few_lines_and_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    few, before = FewLines(), denials("unknown", "UNAUTHENTICATED")
    with caplog.at_level(logging.WARNING):
        for _ in range(3000):
            log_denial(DeniedError(Reason.UNAUTHENTICATED, "unknown token"), RPC)
        log_denial(DeniedError(Reason.TOKEN_EXPIRED, "token expired"), RPC)
    written = [record for record in caplog.records if few.filter(record)]
    assert 100 <= len(written) <= 102
    assert written[-1].message == "TOKEN_EXPIRED for unknown: token expired"
    assert denials("unknown", "UNAUTHENTICATED") == before + 3000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that Attempts sees, to be moved."""
    now = [1000.0]
    monkeypatch.setattr("server.attempts.time.monotonic", lambda: now[0])
    return now


def waits(attempts: Attempts, address: str) -> float:
    """The seconds that an address has to wait."""
    try:
        attempts.check(address)
    except AntrianError as refusal:
        return (refusal.retry_after or timedelta.max).total_seconds()
    return 0


def test_an_address_with_many_failures_waits_longer_each_time(clock: list[float]) -> None:
    attempts, waited = Attempts(), []
    for _ in range(19):
        attempts.fail("a")
    assert waits(attempts, "a") == 0
    for _ in range(8):
        attempts.fail("a")
        waited.append(waits(attempts, "a"))
        clock[0] += waited[-1]
        assert waits(attempts, "a") == 0
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits(attempts, "b") == 0


def test_an_address_from_which_calls_succeed_does_not_wait(clock: list[float]) -> None:
    attempts = Attempts()
    for _ in range(1000):
        attempts.fail("gateway")
    assert waits(attempts, "gateway") == 60
    attempts.succeed("gateway")
    for _ in range(1000):
        attempts.fail("gateway")
    clock[0] += 59
    assert waits(attempts, "gateway") == 0
    clock[0] += 2
    attempts.fail("gateway")
    assert waits(attempts, "gateway") == 60


def test_few_addresses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.attempts._MOST_ADDRESSES", 3)
    attempts = Attempts()
    for n in range(10):
        attempts.succeed(f"good {n}")
        attempts.fail(f"bad {n}")
    assert list(attempts._by_address) == ["bad 7", "bad 8", "bad 9"]
