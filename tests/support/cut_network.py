"""A network of hosts that can be cut off: network namespaces at one switch for who is root, else proxies."""

import asyncio
import ctypes
import os
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path

from antrian.local.replicated_redis import Host, ReplicatedRedis
from tests.faults.proxy import Proxy

_NETWORKS = 256
_HERE = 254


def can_cut() -> bool:
    """Returns whether this process may make network namespaces."""
    return (
        os.geteuid() == 0
        and subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode == 0
    )


def hasten(replicated: ReplicatedRedis) -> None:
    """Lets sentinels look more often, so that they see within seconds that a former primary is back."""
    often = {"info-period": 1000, "publish-period": 500, "min-link-reconnect-period": 1000}
    for name in ("sentinel-1", "sentinel-2", "sentinel-3"):
        with replicated.client(name) as sentinel:
            for period, milliseconds in often.items():
                sentinel.execute_command("SENTINEL DEBUG", period, milliseconds)


class CutLinks:
    """Hosts on loopback, each of whose ports others reach through a proxy that can swallow what is sent. A context manager.

    What a host that is cut off sends of its own still arrives, so this is less than a network that is cut: enough for a
    primary, to which everybody connects.
    """

    def __init__(self, count: int) -> None:
        self._proxies = [list[Proxy]() for _ in range(count)]
        self.hosts = [Host(link=partial(self._link, number)) for number in range(count)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "CutLinks":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for proxy in chain(*self._proxies):
            asyncio.run_coroutine_threadsafe(proxy.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, host: Host) -> None:
        """Swallows what is sent to the host, and its answers."""
        for proxy in self._proxies[self.hosts.index(host)]:
            self._loop.call_soon_threadsafe(proxy.black_hole)

    def heal(self, host: Host) -> None:
        """Passes on what is sent on new connections."""
        for proxy in self._proxies[self.hosts.index(host)]:
            self._loop.call_soon_threadsafe(proxy.heal)

    def _link(self, number: int, port: int) -> int:
        proxy = Proxy(port)
        asyncio.run_coroutine_threadsafe(proxy.start(), self._loop).result()
        self._proxies[number].append(proxy)
        return proxy.port


class CutNetwork:
    """Hosts with addresses of their own in 198.18.N.0/24, a range for tests of networks, which this process reaches as well.

    A context manager. Each host, and the switch, is a network namespace in which one process sleeps. The kernel removes all
    of them, with their links, once no process is in them: also if this process is killed.
    """

    def __init__(self, count: int) -> None:
        self.hosts: list[Host] = []
        self.index = 0
        """The number of this process's own network interface there."""
        self._count = count
        self._switch: list[str] = []
        self._undo = ExitStack()

    def __enter__(self) -> "CutNetwork":
        with ExitStack() as undo:
            switch, self._switch = self._namespace(undo)
            _run(*self._switch, "ip", "link", "add", "switch", "type", "bridge")
            _run(*self._switch, "ip", "link", "set", "switch", "up")
            number = self._join_here(switch)
            for host in range(1, self._count + 1):
                pid, enter = self._namespace(undo)
                address = f"198.18.{number}.{host}"
                _run(
                    *self._switch,
                    "ip",
                    "link",
                    "add",
                    f"port{host}",
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "net",
                    "netns",
                    pid,
                )
                self._plug(f"port{host}")
                _run(*enter, "ip", "link", "set", "lo", "up")
                _run(*enter, "ip", "address", "add", f"{address}/24", "dev", "net")
                _run(*enter, "ip", "link", "set", "net", "up")
                self.hosts.append(Host(address, enter))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    def dial(self, host: Host, port: int) -> socket.socket:
        """Returns a connection to a port on the host's own loopback, past the network, also while the host is cut off."""
        with Path("/proc/thread-self/ns/net").open() as here, Path(host.enter[1].partition("=")[2]).open() as there:
            _enter_network(there.fileno())
            try:
                return socket.create_connection(("127.0.0.1", port))
            finally:
                _enter_network(here.fileno())

    def cut(self, host: Host) -> None:
        """Unplugs the host: what is sent to or by it vanishes, and its connections hear nothing of it."""
        _run(*self._switch, "ip", "link", "set", f"port{self.hosts.index(host) + 1}", "nomaster")

    def heal(self, host: Host) -> None:
        """Plugs the host in again."""
        self._plug(f"port{self.hosts.index(host) + 1}")

    def _plug(self, port: str) -> None:
        _run(*self._switch, "ip", "link", "set", port, "master", "switch", "up")

    def _join_here(self, switch: str) -> int:
        """Joins this process's own network to the switch; returns N, which no other network here has."""
        for number in range(_NETWORKS):
            name = f"antrian{number}"
            added = ["ip", "link", "add", name, "type", "veth", "peer", "name", "port0", "netns", switch]
            if subprocess.run(added, check=False, capture_output=True).returncode == 0:
                self._plug("port0")
                _run("ip", "address", "add", f"198.18.{number}.{_HERE}/24", "dev", name)
                _run("ip", "link", "set", name, "up")
                self.index = socket.if_nametoindex(name)
                return number
        raise OSError("no network can be added")

    def _namespace(self, undo: ExitStack) -> tuple[str, list[str]]:
        """Returns the pid of a process in a new network, and the beginning of a command that runs a program there."""
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        process = undo.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))
        undo.callback(process.kill)
        there = Path(f"/proc/{process.pid}/ns/net")
        deadline = time.monotonic() + 10
        while there.readlink() == Path("/proc/self/ns/net").readlink():
            assert process.poll() is None, "no network namespace could be made"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return str(process.pid), ["nsenter", f"--net={there}"]


def _enter_network(network: int) -> None:
    """Moves this thread; what it opens belongs there for good."""
    if ctypes.CDLL(None, use_errno=True).setns(network, 0):
        raise OSError(ctypes.get_errno(), "setns")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
