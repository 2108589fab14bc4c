"""Child processes that are killed when the parent dies, and the lock on their shared folder. Linux only."""

import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

READY_WITHIN = 60.0
GONE_WITHIN = 10.0

_LOG_BYTES, _OLD_LOGS = 10_000_000, 3
_REFUSES = 2  # the exit code of our programs for invalid settings

# If the parent dies before setpriv requests the signal, none is sent, so the shell checks the parent before the exec.
_UNLESS_ORPHANED = ("/bin/sh", "-c", 'test "$PPID" = "$0" && exec "$@"')


class EmbeddedError(Exception):
    """A process did not start, or ended. The message names it and its log."""


class UnsupportedStoreError(EmbeddedError):
    """A process refused its settings or data. The message says what the operator has to repair."""


class FolderInUseError(EmbeddedError):
    """Another Antrian runs on the folder, or its processes have not ended yet."""


class Child:
    """A child process that ends with its parent.

    The kernel sends it the signal `dies_by` when the thread that created it ends, so create it in the main thread, or in a
    thread that lives as long. It has its own session, so that Ctrl-C at the terminal does not reach it before stop() does.
    lock: the descriptor that hold() yielded. Its output is appended to `log`, whose size bound_log() limits.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        lock: int,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        dies_by: str = "KILL",
        stops_by: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._stops_by = stops_by
        log.parent.mkdir(exist_ok=True)
        self.bound_log()
        with log.open("ab") as output:
            self._log_start = output.tell()
            self.process = subprocess.Popen(
                [*_setpriv(dies_by, user), *_UNLESS_ORPHANED, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
                pass_fds=[lock],
                start_new_session=True,
            )

    @property
    def end(self) -> str:
        """A message with its exit code and the last lines of its log. Empty while it runs."""
        code = self.process.poll()
        return "" if code is None else f"{self.name} ended with code {code}; its log is {self.log}{self._log_tail()}"

    def check(self) -> None:
        """Raises EmbeddedError if the process has ended, or UnsupportedStoreError if it refused its settings."""
        if end := self.end:
            raise (UnsupportedStoreError if self.process.returncode == _REFUSES else EmbeddedError)(end)

    def bound_log(self) -> None:
        """Rotates a log of more than 10 MB. Keeps three old ones, from LOG.1, the newest, to LOG.3.

        Copies and truncates the log, because the process keeps its descriptor. Lines written between the two steps are lost.
        """
        if not self.log.exists() or self.log.stat().st_size <= _LOG_BYTES:
            return
        with suppress(OSError):  # on a full disk, truncate without a copy
            for number in range(_OLD_LOGS, 1, -1):
                newer = self._old_log(number - 1)
                if newer.exists():
                    newer.replace(self._old_log(number))
            shutil.copyfile(self.log, self._old_log(1))
        os.truncate(self.log, 0)
        self._log_start = 0

    def _old_log(self, number: int) -> Path:
        return self.log.with_name(f"{self.log.name}.{number}")

    def wait_until(self, ready: Callable[[], bool], within: float = READY_WITHIN) -> None:
        """Waits until ready() is true. Raises EmbeddedError if the process ends before, or after `within` seconds."""
        deadline = time.monotonic() + within
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self.name} was not ready after {within:g} s; its log is {self.log}")
            time.sleep(0.01)

    def stop(self, within: float = GONE_WITHIN) -> None:
        """Stops the process, and kills it after `within` seconds. Safe to repeat."""
        self.process.send_signal(self._stops_by)
        try:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(within)
        finally:
            self.process.kill()
            self.process.wait()

    def _log_tail(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 4000))
            lines = log.read().decode(errors="replace").splitlines()
        readable = [part for line in lines for part in _readable(line)]
        return "".join(f"\n  {line}" for line in readable[-20:])


def wait_for(condition: Callable[[], bool], problem: str, within: float = READY_WITHIN) -> None:
    """Waits until the condition is true. Raises EmbeddedError with the problem if it takes too long."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise EmbeddedError(f"{problem} after {within:g} s")
        time.sleep(0.02)


def _readable(line: str) -> list[str]:
    """Returns a JSON log line as readable lines, any other line unchanged."""
    try:
        event = json.loads(line)
        head = f"{event['time']} {event['level']} {event['logger']} {event['message']}"
    except (ValueError, TypeError, KeyError):
        return [line]
    return [head, *event.get("exception", "").splitlines()]


def _setpriv(dies_by: str, user: int | None) -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise EmbeddedError(
            "setpriv is missing (Debian: util-linux); without it, processes of a killed Antrian would keep running"
        )
    if user is None:
        return [setpriv, "--pdeathsig", dies_by]
    # This user keeps root's access to folders, since the data and the wheels may be below a folder like /root.
    # no_setuid_fixup extends this to access(2), with which Postgres looks for its own files.
    group = pwd.getpwnam("nobody").pw_gid
    identity = ["--reuid", str(user), "--regid", str(group), "--clear-groups"]
    reach = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override", "--securebits", "+no_setuid_fixup"]
    return [setpriv, "--pdeathsig", dies_by, *identity, *reach]


@contextmanager
def hold(folder: Path) -> Iterator[int]:
    """Creates and locks the folder; yields the descriptor of a lock that every child must inherit.

    Waits for the children of a killed Antrian to end. Raises FolderInUseError if they do not, or at once if another Antrian
    runs there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as own, (folder / "children.lock").open("ab") as children:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(f"another Antrian runs on {folder}; stop it or choose another folder") from None
        deadline = time.monotonic() + GONE_WITHIN
        while True:
            try:
                fcntl.flock(children, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FolderInUseError(
                        f"processes of an Antrian that was killed still run on {folder}; `fuser {folder}/children.lock`"
                        " names them"
                    ) from None
                time.sleep(0.01)
        yield children.fileno()
