"""Redis with replicas and sentinels: real processes, killed, frozen and cut off."""

import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from antrian.local.child import EmbeddedError, hold
from antrian.local.redis_users import ADMIN
from antrian.local.replicated_redis import SERVICE, ReplicatedRedis
from tests.integration.test_embedded import ended, wait_until
from tests.support.cut_network import CutLinks, CutNetwork, can_cut, hasten

_WITHIN = 15
# A client on the host of a Redis: it writes until it is told to stop, and says what was acknowledged.
_CLIENT = """
import sys, redis
with redis.Redis(sys.argv[1], int(sys.argv[2]), username="admin", password=sys.argv[3], socket_timeout=2) as client:
    client.set("inside", "0")
    print(client.execute_command("WAIT", 2, 300), flush=True)
    sys.stdin.readline()
    client.set("inside", "1")
    print(client.execute_command("WAIT", 2, 300), flush=True)
"""

_NETWORK = """
import os, signal, socket
from tests.support.cut_network import CutNetwork
with CutNetwork(2) as network:
    print(network.index, flush=True)
    assert network.index in dict(socket.if_nameindex())
    """
_AS_ROOT = pytest.mark.skipif(not can_cut(), reason="network namespaces need root")
_NODES = ("redis-1", "redis-2", "redis-3")


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[ReplicatedRedis]:
    with hold(tmp_path) as lock, ReplicatedRedis(tmp_path, lock) as started:
        hasten(started)
        yield started


def put(replicated: ReplicatedRedis, value: str) -> int:
    """Writes to the primary; returns how many replicas have it a second later at most."""
    with replicated.client(replicated.primary()) as client:
        client.set("value", value)
        return int(client.execute_command("WAIT", 2, 400))


def value(replicated: ReplicatedRedis, name: str) -> bytes | None:
    with replicated.client(name) as client:
        kept: bytes | None = client.get("value")
        return kept


def test_a_killed_primary_is_replaced_and_comes_back_as_a_replica(replicated: ReplicatedRedis) -> None:
    first = replicated.primary()
    assert put(replicated, "one") == 2
    replicated.kill(first)
    second = replicated.wait_for_failover(first, _WITHIN)
    assert second != first
    assert value(replicated, second) == b"one"
    wait_until(lambda: put(replicated, "two") == 1, _WITHIN)
    replicated.restart(first)
    replicated.wait_until_whole()
    assert replicated.primary() == second
    assert put(replicated, "three") == 2
    assert value(replicated, first) == b"three"


def test_a_write_is_known_to_be_on_fewer_replicas_while_one_is_frozen(replicated: ReplicatedRedis) -> None:
    frozen = "redis-2"
    replicated.freeze(frozen)
    assert put(replicated, "one") == 1
    replicated.resume(frozen)
    wait_until(lambda: value(replicated, frozen) == b"one", _WITHIN)
    assert replicated.primary() == "redis-1"


def test_a_frozen_primary_is_replaced(replicated: ReplicatedRedis) -> None:
    replicated.freeze("redis-1")
    assert replicated.wait_for_failover("redis-1", _WITHIN) != "redis-1"


def test_roles_data_and_address_are_kept_over_a_restart(tmp_path: Path) -> None:
    with hold(tmp_path) as lock:
        with ReplicatedRedis(tmp_path, lock) as replicated:
            hasten(replicated)
            replicated.kill("redis-1")
            primary = replicated.wait_for_failover("redis-1", _WITHIN)
            put(replicated, "one")
            replicated.restart("redis-1")
            replicated.wait_until_whole()
            url, pids = replicated.url, [child.process.pid for child in replicated.children.values()]
        assert all(map(ended, pids))
        with ReplicatedRedis(tmp_path, lock) as replicated:
            assert replicated.url == url
            assert replicated.primary() == primary
            assert [value(replicated, name) for name in _NODES] == [b"one"] * 3


def test_a_port_that_is_taken_at_a_restart_is_named(tmp_path: Path) -> None:
    with hold(tmp_path) as lock:
        with ReplicatedRedis(tmp_path, lock) as replicated:
            port = replicated.ports["redis-2"]
        with (
            closing(replicated._reserve_port("redis-2")),
            pytest.raises(EmbeddedError, match=f"port {port} is taken, by which the others know redis-2"),
            ReplicatedRedis(tmp_path, lock),
        ):
            pass


def test_without_the_password_nothing_is_answered(replicated: ReplicatedRedis) -> None:
    assert urlsplit(replicated.url).scheme == "redis+sentinel"
    assert urlsplit(replicated.url).path == "/antrian/0"
    for name in replicated.children:
        host, port = replicated.address(name)
        with Redis(host, port, retry=Retry(NoBackoff(), 0)) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        arguments = Path(f"/proc/{replicated.children[name].process.pid}/cmdline").read_text()
        assert replicated.passwords[ADMIN] not in arguments
        assert stat.S_IMODE((replicated.folder / name).stat().st_mode) == 0o700


def test_programs_may_only_ask_sentinels_for_the_primary(replicated: ReplicatedRedis) -> None:
    host, port = replicated.address("sentinel-1")
    for user in ("server", "worker", "auditor", "rq", "operator"):
        with Redis(
            host, port, username=user, password=replicated.passwords[user], retry=Retry(NoBackoff(), 0)
        ) as client:
            assert client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
            for command in (
                f"SENTINEL FAILOVER {SERVICE}", f"SENTINEL REMOVE {SERVICE}", f"SENTINEL SET {SERVICE} quorum 1",
                "SENTINEL MONITOR mine 127.0.0.1 1 1", "SENTINEL CONFIG SET loglevel debug", "SENTINEL RESET *",
                "SENTINEL SIMULATE-FAILURE crash-after-election", "PUBLISH __sentinel__:hello mine", "ACL LIST",
                "SHUTDOWN",
            ):  # fmt: skip
                with pytest.raises(NoPermissionError):
                    client.execute_command(*command.split())


def test_stores_are_configured_for_durability(replicated: ReplicatedRedis) -> None:
    for name in _NODES:
        with replicated.client(name) as client:
            settings = client.config_get("*")
        assert {name: settings[name] for name in ("appendonly", "appendfsync", "save", "maxmemory-policy")} == {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
        }


@pytest.mark.parametrize("made", [pytest.param(CutNetwork, marks=_AS_ROOT), CutLinks])
def test_a_primary_that_is_cut_off_is_replaced_and_loses_what_was_written_to_it(
    made: type[CutNetwork | CutLinks], tmp_path: Path
) -> None:
    with (
        hold(tmp_path) as lock,
        made(3) as network,
        ReplicatedRedis(tmp_path, lock, hosts=network.hosts) as replicated,
    ):
        hasten(replicated)
        first = replicated.primary()
        host, (address, port) = replicated.host(first), replicated.own_address(first)
        inside = [*host.enter, sys.executable, "-c", _CLIENT, address, str(port), replicated.passwords[ADMIN]]
        with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdin
            assert client.stdout
            assert client.stdout.readline() == "2\n"
            network.cut(host)
            second = replicated.wait_for_failover(first, _WITHIN)
            client.stdin.write("\n")
            client.stdin.flush()
            assert client.stdout.readline() == "0\n", "the old primary still takes writes, which no replica has"
        network.heal(host)
        replicated.wait_until_whole()
        assert replicated.primary() == second
        for name in _NODES:
            with replicated.client(name) as there:
                assert there.get("inside") == b"0"


@_AS_ROOT
@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_network_is_gone_with_the_process_that_made_it(end: str) -> None:
    made = subprocess.run([sys.executable, "-c", _NETWORK + end], check=False, capture_output=True, text=True)
    index = int(made.stdout)
    wait_until(lambda: index not in [number for number, _ in socket.if_nameindex()], _WITHIN)
