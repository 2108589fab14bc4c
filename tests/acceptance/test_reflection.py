"""A client that knows only the address: health checks, and calls made from the reflected protos."""

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from antrian.local.stack import Stack
from tests.acceptance.person import Crowd


def test_a_client_made_from_the_reflected_protos_books(stack: Stack, crowd: Crowd) -> None:
    with grpc.insecure_channel(stack.address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        service = pool.FindServiceByName("antrian.v1.BookingService")
        method = service.FindMethodByName("RequestBooking")
        request = GetMessageClass(method.input_type)(
            request_id=str(uuid.uuid4()),
            account="stranger",
            office_id="kanim-jakarta-timur",
            service_date=crowd.dates[0].isoformat(),
            session=1,
            applicants=[{"nik": crowd.person().nik, "full_name": "Budi"}],
            location={"latitude": -6.2, "longitude": 106.85},
        )
        call: Any = channel.unary_unary(
            f"/{service.full_name}/RequestBooking",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        assert call(request, timeout=10).booking.state == 1


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_the_services_and_error_details(stack: Stack, version: str) -> None:
    with grpc.insecure_channel(stack.address) as channel:
        call: Any = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=ServerReflectionResponse.FromString,
        )
        symbols = ["antrian.v1.BookingService", "antrian.v1.OfficeService", "google.rpc.ErrorInfo"]
        asked = [ServerReflectionRequest(file_containing_symbol=symbol) for symbol in symbols]
        listed, *found = call(iter([ServerReflectionRequest(list_services=""), *asked]), timeout=10)
    assert set(symbols[:2]) < {service.name for service in listed.list_services_response.service}
    assert all(response.file_descriptor_response.file_descriptor_proto for response in found)


def test_health_returns_serving(stack: Stack) -> None:
    with grpc.insecure_channel(stack.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "antrian.v1.BookingService"):
            response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert response.status == health_pb2.HealthCheckResponse.SERVING
