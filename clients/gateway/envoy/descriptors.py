"""`python -m clients.gateway.envoy.descriptors FILE`: writes the descriptor set that envoy.yaml uses."""

import sys
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2

from antrian.v1 import booking_service_pb2


def descriptors() -> FileDescriptorSet:
    """Returns the descriptors of the service, its imports and the error details, without which error bodies are empty."""
    found: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            add(dependency)
        found.setdefault(file.name, file)

    add(booking_service_pb2.DESCRIPTOR)
    add(error_details_pb2.DESCRIPTOR)
    made = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(made.file.add())
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(descriptors().SerializeToString())
