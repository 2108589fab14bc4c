"""The images that docker-compose.yml names, without a registry of images: stand-ins made of Debian's packages."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.compose.engine import ComposeError, Engine, run

_SUITE = "bookworm"  # its Python is that of the Dockerfile
_PACKAGES = (
    "ca-certificates",
    "python3",
    "python3-pip",
    "python3-venv",
    "redis-server",
    "redis-sentinel",
    "postgresql",
)
_BASE = "debian-of-this-host"
_STAND_INS = {"python:3.11-slim": "python", "redis:8.2": "redis", "postgres:18": "postgres"}
_FILES = Path(__file__).with_name("images")
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def make_stand_ins(engine: Engine) -> None:
    """Gives the engine an image under each official name. Raises ComposeError."""
    root = engine.folder / "root"
    mirror = run("apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {_SUITE}", "Created-By: Packages")
    run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, root, *mirror.split()[:1])
    # The build reaches the index of Python's packages as this host does.
    shutil.copyfile(Path("/") / _CERTIFICATES, root / _CERTIFICATES)
    (root / "etc/pip.conf").write_text(_pip_config())
    _import(engine, root)
    shutil.rmtree(root)
    for image, name in _STAND_INS.items():
        engine.docker("build", "--tag", image, "--file", _FILES / f"{name}.Dockerfile", _FILES)


def build(engine: Engine, image: str, source: Path) -> None:
    """Builds an image of the Dockerfile there. Raises ComposeError."""
    proxies = [
        word for name in _PROXIES for word in ("--build-arg", name)
    ]  # each by the value that it has here, if any
    engine.docker("build", "--network", "host", *proxies, "--tag", image, source)


def _import(engine: Engine, root: Path) -> None:
    with subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE) as tar:
        imported = subprocess.run(
            ["docker", "import", "-", _BASE], stdin=tar.stdout, env=engine.environment, capture_output=True, check=False
        )
    if imported.returncode or tar.returncode:
        raise ComposeError(f"docker import failed:\n{imported.stderr.decode(errors='replace')}")


def _pip_config() -> str:
    listed = run(sys.executable, "-m", "pip", "config", "list")
    found = re.findall(r"^\S+\.(index-url|extra-index-url|trusted-host)='(.*)'$", listed, re.MULTILINE)
    lines = ["[global]"]
    for name, value in dict(reversed(found)).items():  # the environment's, which come first, win
        if reachable := [word for word in value.split() if not word.startswith("file:")]:
            lines.append(f"{name} = {' '.join(reachable)}")
    return "\n".join([*lines, ""])
