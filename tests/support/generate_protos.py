"""Generates antrian/v1 from protos/: `python -m tests.support.generate_protos FOLDER` writes FOLDER/v1."""

import shlex
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2]


def generate(package_folder: Path) -> None:
    """Writes the stubs of protos/antrian/v1 into package_folder/v1, replacing what is there."""
    target = package_folder / "v1"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*_pb2*"):
        old.unlink()
    protos = sorted(str(p.relative_to(ROOT / "protos")) for p in (ROOT / "protos/antrian").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as scratch:
        includes = [ROOT / "protos", ROOT / "protos/vendor", files("grpc_tools") / "_proto"]
        failed = protoc.main(
            [
                "protoc",
                *(f"-I{path}" for path in includes),
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                *_plugin(Path(scratch), "mypy", "main"),
                f"--mypy_out=quiet:{out}",
                *_plugin(Path(scratch), "mypy_grpc", "grpc"),
                f"--mypy_grpc_out=quiet:{out}",
                *protos,
            ]
        )
        if failed:
            raise SystemExit(failed)
        for made in (Path(out) / "antrian/v1").iterdir():
            (target / made.name).write_bytes(made.read_bytes())
    (target / "__init__.py").write_text('"""Generated from protos/ by `make protos`; do not edit."""\n')


def _plugin(folder: Path, name: str, function: str) -> list[str]:
    """A protoc plugin that runs in this interpreter, wherever it lies: pip's own scripts break on some folder names."""
    script = folder / f"protoc-gen-{name}"
    code = f"from mypy_protobuf.main import {function}; {function}()"
    script.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)}\n")
    script.chmod(0o700)
    return [f"--plugin=protoc-gen-{name}={script}"]


if __name__ == "__main__":
    generate(ROOT / sys.argv[1])
