"""A server without a private key: it takes bookings and shows accounts their own, and cannot read anybody's name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from antrian.identity import Keys
from antrian.ledger.keys import claim_keys
from antrian.local.ports import reserve_port
from antrian.settings import KEY_VARIABLES
from antrian.v1.booking_service_pb2 import CorrectNameRequest
from antrian.v1.booking_service_pb2_grpc import BookingServiceStub
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED, SESSION_MORNING
from antrian.v1.office_service_pb2 import ListBarsRequest, ListRosterEntriesRequest
from antrian.v1.office_service_pb2_grpc import OfficeServiceStub
from clients.sdk.booking_client import Applicant, BookingClient
from tests.support.keys import key_variables
from tests.support.waiting import until
from tests.support.world import MONDAY, PUSAT, World, nik


@pytest.fixture
def address(world: World, tmp_path: Path) -> Iterator[str]:
    """The address of a server on the world's stores, which has the hash key and the public key only."""
    claim_keys(world.settings.database_url, world.keys)
    port, claim = reserve_port(None)
    given = key_variables(Keys(world.keys.hash_key, world.keys.public_key))
    environment = {name: value for name, value in os.environ.items() if name not in KEY_VARIABLES} | {
        **{name: value for name, value in given.items() if value},
        "ANTRIAN_REDIS_URL": world.settings.redis_url,
        "ANTRIAN_DATABASE_URL": world.settings.database_url,
        "ANTRIAN_POLICY_FILE": str(world.settings.policy_file),
        "ANTRIAN_EMBEDDED": "1",
        "ANTRIAN_LISTEN": f"127.0.0.1:{port}",
        "ANTRIAN_READY_FILE": str(tmp_path / "ready"),
    }
    with claim, subprocess.Popen([sys.executable, "-m", "server"], env=environment) as process:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


async def test_a_server_without_a_private_key_books_and_shows_masked_names(
    world: World, address: str, tmp_path: Path
) -> None:
    await until((tmp_path / "ready").exists, 20)
    async with BookingClient(address) as client:
        booked = await client.request_booking(
            account="ani",
            office_id=PUSAT,
            service_date=MONDAY.service_date,
            session=SESSION_MORNING,
            applicants=[Applicant(nik=nik(1), full_name="Ani Lestari")],
            whereabouts="ID-JK",
        )
        waiting = await client.get_booking(booked.booking_id, "ani")
        world.turn()
        decided = await client.get_booking(booked.booking_id, "ani")
    assert decided.state == BOOKING_STATE_CONFIRMED
    for booking in (booked, waiting, decided):
        [person] = booking.people
        assert (person.masked_name, person.masked_nik) == ("An* Le*****", f"************{nik(1)[-4:]}")
    [(booking_id, key, encrypted)] = world.sql("select booking_id, applicant_key, encrypted from applicant")
    assert not Keys(world.keys.hash_key, world.keys.public_key).fit(booking_id, key, encrypted)
    assert world.keys.decrypt(booking_id, key, encrypted).full_name == "Ani Lestari"
    assert world.verify() == []

    async with grpc.aio.insecure_channel(address) as channel:
        office, bookings = OfficeServiceStub(channel), BookingServiceStub(channel)
        for call in (
            office.ListRosterEntries(ListRosterEntriesRequest(office_id=PUSAT)),
            office.ListBars(ListBarsRequest(office_id=PUSAT)),
            bookings.CorrectName(CorrectNameRequest(booking_id=booked.booking_id, account="ani", queue_number=1)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
