"""The metrics of servers and workers, and the running audit."""

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import RequestInfo
from grpc import aio
from grpc_status import rpc_status
from prometheus_client.parser import text_string_to_metric_families

from antrian.local.stack import Stack
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd
from tests.acceptance.test_kill import workers_of
from tests.support.town import OFFICES
from tests.support.waiting import until

EXPLAINED = (Path(__file__).parents[2] / "docs/metrics.md").read_text()


@pytest.fixture(scope="module")
def measured(start_stack: StartStack, opens: datetime) -> Iterator[Stack]:
    """An Antrian with metrics, audited every second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_AUDIT_SECONDS", "1")
        yield start_stack(opens + timedelta(minutes=1), metrics=True)


def scrape(stack: Stack, program: str) -> tuple[dict[str, float], str]:
    """Every sample by its name and labels, like `antrian_violations{promise=P1}`, and the text."""
    address = json.loads((stack.folder / "run.json").read_text())["metrics"][program]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        text = response.read().decode()
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples, text


async def test_a_servers_calls_and_refusals_are_counted(measured: Stack, crowd: Crowd) -> None:
    before, _ = scrape(measured, "server")
    async with BookingClient(measured.address) as client:
        request = crowd.request()
        booking = await client.send(request)
        async for _ in client.watch(booking.booking_id, request.account):
            pass
        with pytest.raises(RefusedError):
            await client.send(crowd.request(office_id="kanim-atlantis"))
        await client.send_batch([crowd.request(), crowd.request(office_id="kanim-atlantis")])
    after, _ = scrape(measured, "server")
    moved = {name for name, value in after.items() if value == before.get(name, 0) + 1}
    assert {
        "antrian_rpc_calls_total{code=OK,rpc=RequestBooking,service=antrian.v1.BookingService}",
        "antrian_rpc_calls_total{code=NOT_FOUND,rpc=RequestBooking,service=antrian.v1.BookingService}",
        "antrian_rpc_calls_total{code=OK,rpc=BatchRequestBookings,service=antrian.v1.BookingService}",
        "antrian_rpc_calls_total{code=OK,rpc=WatchBooking,service=antrian.v1.BookingService}",
        "antrian_rpc_seconds_count{rpc=WatchBooking,service=antrian.v1.BookingService}",
        "antrian_refusals_total{reason=OFFICE_NOT_FOUND,rpc=RequestBooking,service=antrian.v1.BookingService}",
        "antrian_refusals_total{reason=OFFICE_NOT_FOUND,rpc=BatchRequestBookings,service=antrian.v1.BookingService}",
    } <= moved
    assert after["antrian_rpc_seconds_count{rpc=RequestBooking,service=antrian.v1.BookingService}"] == 2 + before.get(
        "antrian_rpc_seconds_count{rpc=RequestBooking,service=antrian.v1.BookingService}", 0
    )
    assert after["antrian_rpc_in_flight{rpc=RequestBooking,service=antrian.v1.BookingService}"] == 0


async def test_a_cancelled_stream_is_counted_and_no_longer_in_flight(measured: Stack, crowd: Crowd) -> None:
    async with BookingClient(measured.address) as client:
        request = crowd.request()
        booking = await client.send(request)
        async for _ in client.watch(booking.booking_id, request.account):
            break
    series = "antrian_rpc_in_flight{rpc=WatchBooking,service=antrian.v1.BookingService}"
    await until(lambda: scrape(measured, "server")[0][series] == 0)


async def test_workers_turns_and_outcomes_are_counted(measured: Stack, crowd: Crowd) -> None:
    before, _ = scrape(measured, "workers")
    async with BookingClient(measured.address) as client:
        request = crowd.request()
        booking = await client.send(request)
        await client.outcome(booking.booking_id, request.account)

    def moved(name: str) -> bool:
        return scrape(measured, "workers")[0].get(name, 0) > before.get(name, 0)

    for name in ("antrian_decided_total{outcome=CONFIRMED}", "antrian_turn_tickets_sum", "antrian_turn_seconds_count"):
        await until(lambda: moved(name))  # noqa: B023 - it is called before name changes
    after, _ = scrape(measured, "workers")
    assert after[f"antrian_lane_waiting{{office={PUSAT}}}"] == 0
    assert after[f"antrian_lane_oldest_seconds{{office={PUSAT}}}"] == 0
    assert sum(name.startswith("antrian_lane_waiting") for name in after) == len(OFFICES)
    assert after["antrian_leases_lost_total"] == 0
    assert after["antrian_store_failures_total"] == 0
    for kind in ("CANCEL", "SET_QUOTA", "CLOSE_DATE"):
        assert f"antrian_commands_settled_total{{kind={kind}}}" in after


async def test_the_counters_of_a_killed_worker_are_kept(measured: Stack, crowd: Crowd) -> None:
    name = "antrian_decided_total{outcome=CONFIRMED}"
    before = scrape(measured, "workers")[0][name]
    async with BookingClient(measured.address) as client:
        for count in range(1, 7):
            request = crowd.request()
            booking = await client.send(request)
            await client.outcome(booking.booking_id, request.account)
            await until(lambda: scrape(measured, "workers")[0][name] == before + count)  # noqa: B023
            os.kill(workers_of(measured)[0].pid, signal.SIGKILL)
            await until(lambda: len(workers_of(measured)) == 2)


async def test_the_audit_runs_and_finds_no_violation(measured: Stack) -> None:
    await until(lambda: scrape(measured, "workers")[0].get("antrian_violations{promise=P1}") == 0, within=30)
    violations = {n: v for n, v in scrape(measured, "workers")[0].items() if n.startswith("antrian_violations")}
    assert len(violations) >= 8

    def messages() -> list[str]:
        log = (measured.folder / "log/workers.log").read_text()
        return [json.loads(line)["message"] for line in log.splitlines()]

    await until(lambda: "audit: all promises hold" in messages())
    since = messages()[messages().index("audit: all promises hold") + 1 :]
    since = [message for message in since if not message.startswith("audit: signed head ")]
    assert not [message for message in since if message.startswith(("audit: ", "violation of "))]


@pytest.mark.parametrize("program", ["server", "workers"])
def test_every_metric_has_help_and_a_type_and_is_documented(measured: Stack, program: str) -> None:
    _, text = scrape(measured, program)
    samples = set(re.findall(r"^(antrian_\w+?)(?:_bucket|_sum|_count)?[{ ]", text, re.MULTILINE))
    assert samples
    assert samples <= set(re.findall(r"^# HELP (\w+) \S", text, re.MULTILINE))
    assert samples <= set(re.findall(r"^# TYPE (\w+) \S", text, re.MULTILINE))
    assert {name for name in samples if f"`{name}`" not in EXPLAINED} == set()


@pytest.mark.parametrize(
    ("given", "kept"), [("my-request.7", True), ("x" * 65, False), ("a 1", False), ("3171014107900001", False)]
)
async def test_an_error_carries_the_request_id(measured: Stack, crowd: Crowd, given: str, kept: bool) -> None:
    async with BookingClient(measured.address) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.stub.RequestBooking(
                crowd.request(office_id="kanim-atlantis"), metadata=[("x-request-id", given)]
            )
    status, info = rpc_status.from_call(caught.value), RequestInfo()
    assert [detail.Unpack(info) for detail in status.details].count(True) == 1
    assert (info.request_id == given) is kept
    assert kept or re.fullmatch("[0-9a-f]{12}", info.request_id)
