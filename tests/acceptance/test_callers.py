"""Callers are identified by bearer tokens, have permissions, and see only their own bookings."""

import hashlib
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import grpc
import psycopg
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from antrian.local.stack import Stack
from antrian.v1 import booking_service_pb2 as wire
from clients.sdk.booking_client import SESSION_MORNING, BookingClient, RefusedError
from clients.sdk.office_client import OfficeClient
from server.key_sets import KeySet
from server.middleware import serialize
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd
from tests.acceptance.test_metrics import scrape
from tests.acceptance.test_tls import write_certificate
from tests.support.issuer import Issuer

CALLERS = """
[[caller]]
name = "{name}"
role = "{role}"
token_sha256 = "{hash}"
{more}
"""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """Who signs tokens for persons."""
    return Issuer(tmp_path_factory.mktemp("callers") / "keys.json")


@pytest.fixture(scope="module")
def file(issuer: Issuer) -> Path:
    """The callers file: each caller has its name as the token, and persons have tokens of an issuer."""
    file = issuer.file.with_name("callers.toml")
    text = [
        CALLERS.format(name=name, role=role, hash=hashlib.sha256(name.encode()).hexdigest(), more=more)
        for name, role, more in (
            ("phone", "gateway", 'vouches_for = "accounts"'),
            ("web", "gateway", 'vouches_for = "accounts"'),
            ("kiosk", "gateway", ""),
            ("old", "gateway", "not_after = 2026-01-01T00:00:00Z"),
            ("ministry", "internal", ""),
            ("counter", "staff", f'offices = ["{PUSAT}"]'),
            ("rinas", "staff", f'offices = ["{PUSAT}"]\nstaff = "rina.k"'),
        )
    ]
    file.write_text("".join(text) + issuer.entry())
    return file


@pytest.fixture(scope="module")
def guarded(file: Path, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with that callers file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_CALLERS_FILE", str(file))
        return start_stack(opens + timedelta(minutes=1), metrics=True)


async def refusal(stack: Stack, token: str, crowd: Crowd, **changes: object) -> str:
    async with BookingClient(stack.address, token=token, patience=timedelta(seconds=10)) as client:
        with pytest.raises(RefusedError) as caught:
            await client.send(crowd.request(**changes))
    return caught.value.reason


async def test_a_missing_or_unknown_token_is_refused(guarded: Stack, crowd: Crowd) -> None:
    assert await is_known(guarded, "phone")  # so that failures of other tests make nobody wait
    assert await refusal(guarded, "", crowd) == "UNAUTHENTICATED"
    assert await refusal(guarded, "phone2", crowd) == "UNAUTHENTICATED"


async def test_an_expired_token_is_refused(guarded: Stack, crowd: Crowd) -> None:
    assert await refusal(guarded, "old", crowd) == "TOKEN_EXPIRED"


@contextmanager
def added(file: Path, text: str) -> Iterator[None]:
    """Adds the text to the callers file while the context lasts."""
    before = file.read_text()
    file.write_text(before + text)
    try:
        yield
    finally:
        file.write_text(before)


async def is_known(stack: Stack, token: str) -> bool:
    async with BookingClient(stack.address, token=token, patience=timedelta(0)) as client:
        try:
            await client.get_quota(PUSAT)
        except RefusedError as refusal:
            if refusal.reason not in {"UNAUTHENTICATED", "TOO_MANY_ATTEMPTS"}:
                raise
            return False
    return True


async def test_a_token_is_added_and_revoked_without_a_restart(guarded: Stack, file: Path) -> None:
    entry = CALLERS.format(name="new", role="gateway", hash=hashlib.sha256(b"brand new").hexdigest(), more="")
    pid, ends = guarded.pids()["server"], time.monotonic() + 30
    assert not await is_known(guarded, "brand new")
    with added(file, entry):
        while not await is_known(guarded, "brand new"):
            assert time.monotonic() < ends
    with added(file, "[[caller]"):  # revokes nothing and nobody, and does not end the server
        os.kill(pid, signal.SIGHUP)
        assert await is_known(guarded, "phone")
    while await is_known(guarded, "brand new"):
        assert time.monotonic() < ends
    os.kill(pid, signal.SIGHUP)
    assert await is_known(guarded, "phone")
    assert guarded.pids()["server"] == pid


async def test_a_caller_that_does_not_vouch_for_accounts_names_none(guarded: Stack, crowd: Crowd) -> None:
    request = crowd.request()
    async with (
        BookingClient(guarded.address, token="phone") as phone,
        BookingClient(guarded.address, token="kiosk") as kiosk,
    ):
        booking = await phone.send(request)
        await phone.outcome(booking.booking_id, request.account)
        assert (await kiosk.get_quota(PUSAT)).office_id == PUSAT
        for account in (request.account, "kiosk", ""):
            for call in (
                kiosk.send(crowd.request(account=account)),
                kiosk.get_booking(booking.booking_id, account),
                kiosk.list_bookings(account),
                kiosk.cancel_booking(booking.booking_id, account),
                kiosk.cancel_person(booking.booking_id, account, 1),
                kiosk.correct_name(booking.booking_id, account, 1, "Dewi Lestari"),
            ):
                with pytest.raises(RefusedError) as caught:
                    await call
                assert caught.value.reason == "PERMISSION_DENIED"
                assert caught.value.metadata == {"field": "account"}


async def test_only_an_internal_system_may_state_a_province_instead_of_a_location(guarded: Stack, crowd: Crowd) -> None:
    assert await refusal(guarded, "phone", crowd, province_code="ID-JK") == "LOCATION_REQUIRED"
    async with BookingClient(guarded.address, token="ministry") as client:
        assert (await client.send(crowd.request(province_code="ID-JK"))).ticket > 0


async def test_request_ids_and_bookings_are_scoped_to_their_caller(guarded: Stack, crowd: Crowd) -> None:
    request = crowd.request()
    other = crowd.request(request_id=request.request_id, account=request.account)
    async with (
        BookingClient(guarded.address, token="phone") as phone,
        BookingClient(guarded.address, token="web") as web,
    ):
        first, second = await phone.send(request), await web.send(other)
        assert first.booking_id != second.booking_id
        assert (await phone.get_booking(first.booking_id, request.account)).ticket == first.ticket
        with pytest.raises(RefusedError, match="BOOKING_NOT_FOUND"):
            await web.get_booking(first.booking_id, request.account)


@pytest.mark.parametrize("token", ["phone", "ministry"])
async def test_only_staff_may_use_the_office_service(guarded: Stack, token: str) -> None:
    async with OfficeClient(guarded.address, token=token) as office:
        with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
            await office.day_roster(PUSAT, staff="rina")


async def test_staff_may_see_and_change_only_their_own_office(guarded: Stack, crowd: Crowd) -> None:
    day = crowd.dates[0]
    async with OfficeClient(guarded.address, token="counter") as office:
        await office.day_roster(PUSAT, day, staff="rina")
        for other in ("kanim-bogor", "kanim-atlantis"):
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.day_roster(other, day, staff="rina")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.close_date(other, day, staff="rina", reason="banjir")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.retire_office(other, staff="rina", reason="pindah")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.check_in(other, "0000000000", staff="rina")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.bars(other, staff="rina")
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await office.lift_bar(other, "0000000000", 1, staff="rina", reason="banjir")
            for way_back in (office.excuse_no_show, office.undo_check_in, office.late_attendance):
                with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                    await way_back(other, "0000000000", staff="rina", reason="banjir")


async def test_another_callers_booking_is_neither_listed_nor_cancelled(guarded: Stack, crowd: Crowd) -> None:
    request = crowd.request()
    async with (
        BookingClient(guarded.address, token="phone") as phone,
        BookingClient(guarded.address, token="web") as web,
    ):
        booking = await phone.send(request)
        await phone.outcome(booking.booking_id, request.account)
        assert await web.list_bookings(request.account) == []
        for client, account in ((web, request.account), (phone, "somebody-else")):
            with pytest.raises(RefusedError, match="BOOKING_NOT_FOUND"):
                await client.cancel_booking(booking.booking_id, account)
        assert [b.booking_id for b in await phone.list_bookings(request.account)] == [booking.booking_id]


async def test_reads_of_rosters_and_bars_are_recorded_with_who_read_them(guarded: Stack, crowd: Crowd) -> None:
    async with OfficeClient(guarded.address, token="counter") as office:
        people = len(await office.day_roster(PUSAT, crowd.dates[1], SESSION_MORNING, staff="siti"))
        await office.bars(PUSAT, "3171014505920003", staff="siti")
    with psycopg.connect(guarded.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        rows = ledger.execute(
            "select kind, caller, office_id, service_date::text, session, after from staff_action where staff = 'siti' "
            "and kind like 'READ%' order by done_at"
        ).fetchall()
    assert rows[0] == (
        *("READ_ROSTER", "counter", PUSAT, crowd.dates[1].isoformat(), "MORNING"),
        {"people": people, "by_nik": False},
    )
    assert (rows[1][:3], rows[1][4:]) == (("READ_BARS", "counter", PUSAT), (None, {"people": 0, "by_nik": True}))


async def test_a_token_of_one_person_acts_as_that_person_only(guarded: Stack, crowd: Crowd) -> None:
    day = crowd.dates[1]
    async with OfficeClient(guarded.address, token="rinas") as office:
        await office.day_roster(PUSAT, day, staff="")
        await office.day_roster(PUSAT, day, staff="rina.k")
        for act in (office.day_roster(PUSAT, day, staff="siti"), office.bars(PUSAT, staff="siti")):
            with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
                await act
        with pytest.raises(RefusedError, match="PERMISSION_DENIED"):
            await office.close_date(PUSAT, day, staff="siti", reason="banjir")
    with psycopg.connect(guarded.environment["ANTRIAN_DATABASE_URL"]) as ledger:
        rows = ledger.execute("select distinct staff, kind from staff_action where caller = 'rinas'").fetchall()
    assert rows == [("rina.k", "READ_ROSTER")]


async def test_a_person_uses_only_the_own_account(guarded: Stack, issuer: Issuer, crowd: Crowd) -> None:
    async with (
        BookingClient(guarded.address, token=issuer.token("ani")) as ani,
        BookingClient(guarded.address, token=issuer.token("budi", "ES256")) as budi,
    ):
        booking = await ani.send(crowd.request(account=""))
        booking = await ani.outcome(booking.booking_id, "ani")
        assert [found.booking_id for found in await ani.list_bookings("")] == [booking.booking_id]
        assert await budi.list_bookings("") == []
        with pytest.raises(RefusedError, match="BOOKING_NOT_FOUND"):
            await budi.cancel_booking(booking.booking_id, "")
        assert (await ani.cancel_booking(booking.booking_id, "")).booking_id == booking.booking_id


async def test_a_person_names_no_other_account_in_any_rpc(guarded: Stack, issuer: Issuer, crowd: Crowd) -> None:
    """Of every rpc whose request, or an item of it, has an account."""
    token, attacked = issuer.token("ani"), 0
    async with BookingClient(guarded.address, token=token) as client:
        for method in wire.DESCRIPTOR.services_by_name["BookingService"].methods:
            fields = method.input_type.fields_by_name
            call = getattr(client.channel, "unary_stream" if method.server_streaming else "unary_unary")(
                f"/{method.containing_service.full_name}/{method.name}",
                request_serializer=serialize,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            if "account" in fields:
                request: Any = GetMessageClass(method.input_type)(account="budi")
                if method.name == "RequestBooking":
                    request = crowd.request(account="budi")
                sent = call(request, metadata=[("authorization", f"Bearer {token}")])
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await (sent.read() if method.server_streaming else sent)
                refused = RefusedError.of_error(caught.value)
            elif "requests" in fields:
                item = GetMessageClass(cast("Descriptor", fields["requests"].message_type))
                request = GetMessageClass(method.input_type)(requests=[item(account="budi"), item(account="ani")])
                response = await call(request, metadata=[("authorization", f"Bearer {token}")])
                refused, other = (RefusedError.of_status(result.error) for result in response.results)
                assert other.reason == "INVALID_FIELD"
            else:
                continue
            attacked += 1
            assert (refused.reason, refused.metadata) == ("PERMISSION_DENIED", {"field": "account"}), method.name
    assert attacked == 9


async def test_an_attack_is_seen_bounded_and_hurts_nobody_else(guarded: Stack, issuer: Issuer) -> None:
    log = guarded.folder / "log/server.log"
    log.touch()
    known, reasons = issuer.token("citra"), set[str]()
    refused = {"UNAUTHENTICATED", "TOO_MANY_ATTEMPTS"}

    def denied() -> float:
        samples, _ = scrape(guarded, "server")
        return sum(samples.get(f"antrian_denials_total{{caller=unknown,reason={reason}}}", 0) for reason in refused)

    async with BookingClient(guarded.address, patience=timedelta(0)) as client:

        async def attempt(token: str) -> str:
            try:
                await client.stub.GetQuota(
                    wire.GetQuotaRequest(office_id=PUSAT), metadata=[("authorization", f"Bearer {token}")]
                )
            except grpc.aio.AioRpcError as error:
                return RefusedError.of_error(error).reason
            return "OK"

        assert await attempt(known) == "OK"
        before = denied()
        for n in range(600):
            reasons.add(await attempt(f"guess {n}"))
        assert reasons <= refused
        for token in (known, "phone", issuer.token("citra", "ES256")):  # the last one after the address has succeeded
            assert await attempt(token) == "OK"
    assert denied() == before + 600
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"antrian.security"' in line]
    for reason in reasons:
        assert 1 <= sum(line["reason"] == reason for line in lines) <= 120
    assert {line["address"] for line in lines} == {"127.0.0.0/24"}
    assert "guess" not in log.read_text()


async def test_keys_come_from_a_url_and_never_from_a_redirect(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Login(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if self.path == "/away" else 200)
            self.send_header("Location", "/keys")
            self.end_headers()
            self.wfile.write(b" " * 300_000 if self.path == "/large" else issuer.jwks.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Login) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            for path, works in (("keys", True), ("away", False), ("large", False)):
                keys = KeySet(f"https://127.0.0.1:{server.server_port}/{path}", tmp_path)
                assert await keys.refresh() is works
                assert (keys.find("EdDSA") is not None) is works
            monkeypatch.delenv("SSL_CERT_FILE")
            assert not await KeySet(f"https://127.0.0.1:{server.server_port}/keys", tmp_path).refresh()
        finally:
            server.shutdown()
