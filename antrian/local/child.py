"""Processes that end when we do, however that is, and the lock on the folder that they share. Linux only."""

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
_REFUSES = 2  # how our programs exit when their settings are wrong

# When we die before setpriv has asked for the signal, none comes: so it looks once more before it becomes the program.
_UNLESS_ORPHANED = ("/bin/sh", "-c", 'test "$PPID" = "$0" && exec "$@"')


class EmbeddedError(Exception):
    """A part did not start, or did not keep running; the message says which, and where its log is."""


class UnsupportedStoreError(EmbeddedError):
    """A part refuses what it was given, its settings or its data; the message says what the operator has to mend."""


class FolderInUseError(EmbeddedError):
    """Another Antrian runs on the folder, or what it left has not ended yet."""


class Child:
    """A process of ours that ends when we do.

    The kernel sends it `dies_by` when the thread that made it ends (so make it in the main thread, or in one that
    lives as long). It has a session of its own, so that Ctrl-C does not reach it before we stop it. `lock` is what
    hold() gave. What it prints is added to `log`, which bound_log() keeps from growing for ever.
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
        """How it has ended: its exit code, and the last lines of its log; empty while it runs."""
        code = self.process.poll()
        return "" if code is None else f"{self.name} ended with code {code}; its log is {self.log}{self._last_words()}"

    def check(self) -> None:
        """Raises EmbeddedError when it has ended, UnfitError when it refused its settings."""
        if end := self.end:
            raise (UnsupportedStoreError if self.process.returncode == _REFUSES else EmbeddedError)(end)

    def bound_log(self) -> None:
        """Begins a log of more than 10 MB anew; the three before it stay, as LOG.1 to LOG.3, the newest first.

        It is copied and emptied, since the process goes on writing to the file that it was given, at its end: a line that it
        writes between the two is lost.
        """
        if not self.log.exists() or self.log.stat().st_size <= _LOG_BYTES:
            return
        with suppress(OSError):  # a disk that is full: rather no old logs than one that grows
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
        """Returns once ready() is true; raises EmbeddedError when it ends before, or is too slow."""
        deadline = time.monotonic() + within
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{self.name} was not ready after {within:g} s; its log is {self.log}")
            time.sleep(0.01)

    def stop(self, within: float = GONE_WITHIN) -> None:
        """Ends it, by force when it takes longer; safe to repeat."""
        self.process.send_signal(self._stops_by)
        try:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(within)
        finally:
            self.process.kill()
            self.process.wait()

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 4000))
            lines = log.read().decode(errors="replace").splitlines()
        told = [part for line in lines for part in _told(line)]
        return "".join(f"\n  {line}" for line in told[-20:])


def _told(line: str) -> list[str]:
    """A line of our programs' logs, which are JSON, as people read it; any other as it is."""
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
            "setpriv is missing (Debian: util-linux); without it a killed Antrian would leave processes"
        )
    if user is None:
        return [setpriv, "--pdeathsig", dies_by]
    # Another user, who may still go where root may: the data and the wheels can lie below a folder like /root.
    # no_setuid_fixup makes that hold for access(2) too, by which Postgres looks for its own files.
    group = pwd.getpwnam("nobody").pw_gid
    identity = ["--reuid", str(user), "--regid", str(group), "--clear-groups"]
    reach = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override", "--securebits", "+no_setuid_fixup"]
    return [setpriv, "--pdeathsig", dies_by, *identity, *reach]


@contextmanager
def hold(folder: Path) -> Iterator[int]:
    """Makes the folder and keeps it ours; yields a lock that every child has to inherit.

    Raises FolderInUseError at once when another Antrian runs there. When one was killed a moment ago, waits until the
    last of its children is gone.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as ours, (folder / "children.lock").open("ab") as theirs:
        try:
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(f"another Antrian runs on {folder}; stop it or choose another folder") from None
        deadline = time.monotonic() + GONE_WITHIN
        while True:
            try:
                fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FolderInUseError(
                        f"processes of an Antrian that was killed still run on {folder}; `fuser {folder}/children.lock`"
                        " names them"
                    ) from None
                time.sleep(0.01)
        yield theirs.fileno()
