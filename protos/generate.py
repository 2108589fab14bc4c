"""Generates the Python stubs of protos/antrian/v1: `python -m protos.generate FOLDER` writes FOLDER/v1."""

import shlex
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet, OneofDescriptorProto
from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
_RULES = "buf/validate/validate.proto"
_KNOWN_OPTIONS = (annotations_pb2.http, field_behavior_pb2.field_behavior)
"""Options to keep. Importing their modules registers them."""


def generate(package_folder: Path) -> None:
    """Writes the stubs of protos/antrian/v1 into package_folder/v1, replacing what is there."""
    target = package_folder / "v1"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*_pb2*"):
        old.unlink()
    protos = sorted(str(p.relative_to(ROOT / "protos")) for p in (ROOT / "protos/antrian").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as scratch:
        described = Path(scratch) / "set"
        described.write_bytes(_without_rules(describe(*protos)).SerializeToString())
        _run(
            f"--descriptor_set_in={described}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            *_plugin(Path(scratch), "mypy", "main"),
            f"--mypy_out=quiet:{out}",
            *_plugin(Path(scratch), "mypy_grpc", "grpc"),
            f"--mypy_grpc_out=quiet:{out}",
            *protos,
        )
        for made in (Path(out) / "antrian/v1").iterdir():
            (target / made.name).write_bytes(made.read_bytes())
    (target / "__init__.py").write_text('"""Generated from protos/ by `make protos`; do not edit."""\n')


def describe(*protos: str) -> FileDescriptorSet:
    """Returns the descriptors of these files and of all that they import, with comments."""
    includes = [ROOT / "protos", ROOT / "protos/vendor", files("grpc_tools") / "_proto"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={out}"]
        _run(*(f"-I{path}" for path in includes), *options, *protos)
        return FileDescriptorSet.FromString(out.read_bytes())


def _without_rules(described: FileDescriptorSet) -> FileDescriptorSet:
    """Removes buf.validate, which has no Python package: its options are for readers and other languages."""
    for file in described.file:
        if _RULES in file.dependency:
            file.dependency.remove(_RULES)
            for message in file.message_type:
                parts: list[FieldDescriptorProto | OneofDescriptorProto] = [*message.field, *message.oneof_decl]
                for part in parts:
                    part.options.DiscardUnknownFields()
                    if not part.options.ByteSize():
                        part.ClearField("options")
    return described


def _run(*arguments: str) -> None:
    if failed := protoc.main(["protoc", *arguments]):
        raise SystemExit(failed)


def _plugin(folder: Path, name: str, function: str) -> list[str]:
    """Returns the option for a protoc plugin that runs in this interpreter: pip's scripts break on some folder names."""
    script = folder / f"protoc-gen-{name}"
    code = f"from mypy_protobuf.main import {function}; {function}()"
    script.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)}\n")
    script.chmod(0o700)
    return [f"--plugin=protoc-gen-{name}={script}"]


if __name__ == "__main__":
    generate(ROOT / sys.argv[1])
