"""A Docker engine of our own: Debian's dockerd, with everything that it keeps in one folder."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_START_SECONDS = 60
_STOP_SECONDS = 60
_TAIL = 40  # lines of a failed command's output

PROGRAMS = {"dockerd": "docker.io", "docker": "docker.io", "debootstrap": "debootstrap", "iptables": "iptables", "ip": "iproute2"}  # fmt: skip
"""What has to be installed, and the Debian package that has it."""


class ComposeError(Exception):
    """A step failed; the message has the end of what the failed command printed, and code is what it exited with, if it did."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Runs a command and returns what it printed. Raises ComposeError when it fails."""
    made = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if made.returncode:
        tail = "\n".join(made.stdout.splitlines()[-_TAIL:])
        raise ComposeError(f"{' '.join(map(str, command))} exited with {made.returncode}:\n{tail}", made.returncode)
    return made.stdout


def missing() -> str | None:
    """Returns what this machine lacks and how to get it, or None."""
    if sys.platform != "linux" or os.geteuid():
        return "make compose starts a Docker engine of its own, so it needs Linux and root: sudo make compose"
    if packages := sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)}):
        return (
            f"make compose needs more packages of Debian: apt-get install --no-install-recommends {' '.join(packages)}"
        )
    return None


class Engine:
    """A dockerd of its own.

    Containers run in a network namespace: addresses, published ports and the rules of iptables are not those of the host.
    The namespace has no way out, so images are built before, by an engine without any network of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespace = f"antrian-compose-{os.getpid()}"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANTRIAN_", "COMPOSE_", "DOCKER_"))
        } | {"DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_BUILDKIT": "0"}

    def docker(self, *words: str | Path) -> str:
        """Runs a command of docker on this engine. Raises ComposeError when it fails."""
        return run("docker", *words, env=self.environment)

    def inside(self, *command: str | Path) -> str:
        """Runs a command in the namespace, where the published ports are. Raises ComposeError when it fails."""
        return run(*self._enter(), *command, env=self.environment)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Runs the engine for `docker build --network host` alone."""
        with self._running("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"):
            yield

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Runs the engine for containers, in a namespace that ends with it."""
        run("ip", "netns", "add", self.namespace)
        try:
            run("ip", "-n", self.namespace, "link", "set", "lo", "up")
            with self._running(prefix=self._enter()):
                yield
        finally:
            run("ip", "netns", "delete", self.namespace)

    def _enter(self) -> tuple[str, ...]:
        # Not `ip netns exec`, which would hide the control groups below /sys.
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    @contextmanager
    def _running(self, *options: str, prefix: tuple[str, ...] = ()) -> Iterator[None]:
        places = {"host": self.environment["DOCKER_HOST"], "data-root": "data", "exec-root": "run", "pidfile": "pid"}
        paths = [f"--{name}={self.folder / value if '/' not in value else value}" for name, value in places.items()]
        with (self.folder / "dockerd.log").open("ab") as log:
            # In a session of its own: Ctrl-C is ours, and the engine ends last.
            process = subprocess.Popen(
                [*prefix, "dockerd", "--storage-driver=overlay2", *paths, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait(process)
            yield
        finally:
            self._stop(process)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        ends = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < ends:
            with suppress(ComposeError):
                self.docker("info")
                return
            time.sleep(0.2)
        log = (self.folder / "dockerd.log").read_text(errors="replace").splitlines()
        raise ComposeError("\n".join(["dockerd did not start:", *log[-_TAIL:]]))

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()  # it ends its containers and its containerd
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed(mounts):
            if mount.startswith(f"{self.folder}/"):
                run("umount", "--lazy", mount)
