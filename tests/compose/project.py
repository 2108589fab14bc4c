"""The project of docker-compose.yml on an engine, handled as docs/deploy.md says."""

import json
import re
import sys
import time
from pathlib import Path

from tests.compose.engine import ComposeError, Engine, run
from tests.support.window import policy_open_now

ROOT = Path(__file__).parents[2]
IMAGE = "antrian:0.1.0"
_BIN = Path(sys.executable).parent
_SCENARIO = ROOT / "tests/rush/short.toml"
_WAIT_SECONDS = 240
_REQUESTS = 300
_TRIES = 3
_INVALID = 3  # what a rush exits with whose load was late, as on a busy machine
# What a person adds who has another policy than the shipped one.
_OVERRIDE = """\
services:
  server: &program
    environment: {{ANTRIAN_POLICY_FILE: /policy.toml}}
    volumes: ["{policy}:/policy.toml:ro"]
  worker: *program
"""


class Project:
    """Its commands. Each raises ComposeError when it fails."""

    def __init__(self, engine: Engine) -> None:
        """Makes the secrets by the commands of docs/deploy.md."""
        self._engine = engine
        self._policy = engine.folder / "policy.toml"
        self._override = engine.folder / "override.yml"
        self._env_file = engine.folder / "env"
        self._env_file.touch()  # not the .env of the checkout
        self._files = [ROOT / "docker-compose.yml"]
        (script,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/deploy.md").read_text("utf-8"), re.DOTALL)
        printed = run("bash", "-e", "-c", script, cwd=engine.folder)
        self._token = printed.split()[-1]
        self._environment = engine.environment | {"SECRETS_FOLDER": str(engine.folder / "secrets")}

    def compose(self, *words: str) -> str:
        """Runs docker compose."""
        files: list[str | Path] = [word for file in self._files for word in ("--file", file)]
        return run(
            _BIN / "docker-compose", "--env-file", self._env_file, *files, *words, cwd=ROOT, env=self._environment
        )

    def up(self, *words: str) -> None:
        """Starts what is not there yet and waits until all of it is healthy."""
        ends = time.monotonic() + _WAIT_SECONDS
        while (failed := self._try_up(*words)) and time.monotonic() < ends:
            pass  # on a busy machine one may be unhealthy for a while
        if failed:
            raise ComposeError(f"{failed}\n{self.compose('logs', '--tail', '20')}")

    def _try_up(self, *words: str) -> ComposeError | None:
        try:
            self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(_WAIT_SECONDS), *words)
        except ComposeError as error:
            return error
        return None

    def execute(self, service: str, *command: str) -> str:
        """Runs a command in a container, and returns what it printed."""
        return self.compose("exec", "--no-TTY", service, *command).strip()

    def use_replicas(self) -> None:
        """Takes the .env and the database URL of docs/deploy.md from now on."""
        deploy = (ROOT / "docs/deploy.md").read_text("utf-8")
        (lines,) = re.findall(r"```ini\n(.*?)```", deploy, re.DOTALL)
        self._env_file.write_text(lines)
        (hosts,) = re.findall(r"`(@postgres:5432,.*?)`", deploy)
        url = self._engine.folder / "secrets/antrian_database_url"
        url.write_text(url.read_text().partition("@")[0] + hosts)

    def remove_volume(self, name: str) -> None:
        """Removes a volume that no container uses."""
        self._engine.docker("volume", "rm", f"antrian_{name}")

    def verify(self) -> None:
        """Counts the violations of every promise."""
        self.execute("worker", "antrian", "verify")

    def open_window(self) -> None:
        """Applies a policy by which booking is open now, on whatever day."""
        self._policy.write_text(policy_open_now(), "utf-8")
        self._override.write_text(_OVERRIDE.format(policy=self._policy))
        apply = ("policy", "apply", "/policy.toml", "--staff", "ops-1", "--reason", "make compose")
        self.compose("run", "--rm", "--no-TTY", "--volume", f"{self._policy}:/policy.toml:ro", "server", *apply)
        self._files.append(self._override)
        self.up()

    def rush(self, seed: int) -> None:
        """Plays a few seconds of a rush through the gateway, again with other people if the load was not the planned one."""
        server, gateway = (
            self.compose("port", name, port).strip() for name, port in (("server", "7700"), ("gateway", "7780"))
        )
        rush = ("rush", "--via", "http", "--http", gateway, "--target", server, "--token", self._token)
        load = ("--scenario", str(_SCENARIO), "--requests", str(_REQUESTS), "--processes", "1")
        for tries_left in reversed(range(_TRIES)):
            try:
                self._engine.inside(_BIN / "antrian", *rush, *load, "--seed", str(seed + 100 * tries_left))
            except ComposeError as error:
                if error.code != _INVALID or not tries_left:
                    raise
            else:
                return

    def scale(self, **replicas: int) -> None:
        """Runs so many containers of each service; the others stay as they are."""
        self.up("--no-recreate", *(word for name, n in replicas.items() for word in ("--scale", f"{name}={n}")))
        for name, wanted in replicas.items():
            if (found := len(self.compose("ps", "--quiet", name).split())) != wanted:
                raise ComposeError(f"{found} containers of {name}, not {wanted}")

    def down(self) -> None:
        """Ends all containers, and removes them with their volumes. Each program has to end by itself."""
        self.compose("stop")
        listed = self.compose("ps", "--all", "--format", "json").splitlines()
        states = {container["Name"]: container["ExitCode"] for container in map(json.loads, listed)}
        if killed := sorted(name for name, code in states.items() if code):
            raise ComposeError(f"did not end by themselves: {', '.join(killed)} of {states}")
        self.compose("down", "--volumes")
        if left := self._engine.docker("ps", "--all", "--quiet").split():
            raise ComposeError(f"{len(left)} containers are left")
