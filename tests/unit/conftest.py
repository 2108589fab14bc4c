"""Unit tests stay in their process: no sockets, no servers, no other programs. Tests that need these are integration tests."""

import socket
import subprocess
from typing import Any, NoReturn

import grpc
import pytest
from hypothesis import settings

# Half of the usual examples keep `make check` fast; a busy machine must not fail a test by its deadline.
settings.register_profile("unit", max_examples=50, deadline=None)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest-socket would see neither gRPC's sockets nor programs that are started.
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("a unit test starts a server or a program, or opens a connection: see tests/README.md")

    places: list[tuple[Any, str]] = [
        (socket.socket, "bind"),
        (socket.socket, "connect"),
        (socket.socket, "connect_ex"),
        (subprocess.Popen, "__init__"),
        (grpc, "server"),
        (grpc.aio, "server"),
    ]
    for owner, name in places:
        monkeypatch.setattr(owner, name, refuse)
