"""The gateway is what clients/gateway/openapi.json says: schemathesis asks it for good and for bad things."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import pytest
from google.protobuf.json_format import MessageToDict

from antrian.booking import Window
from antrian.local.stack import Stack
from clients.gateway.routes import ROUTES
from protos.openapi import TARGET
from tests.acceptance.person import JAKARTA, PUSAT, Crowd

EXAMPLES = 60
pytestmark = pytest.mark.timeout(300)  # the first test waits for all that is asked

_RULES = """
warnings = false
hooks = "tests.gateway.hooks"
[cache]
enabled = false

# What fits its schema may be refused all the same: for its day, its location or its caller. That it is not refused as no
# request at all (405, 413, 415, 422) is checked.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "404", "409"]

# A bad request in a batch harms no other: its own error is in an answer that is 200.
[[operations]]
include-operation-id = ["BatchRequestBookings", "BatchGetBookings"]
checks.negative_data_rejection.enabled = false

# Bookings are for any account, since one has places for five people; reads are for the account that has bookings.
[[operations]]
include-operation-id = ["BatchGetBookings", "CancelBooking", "CancelPerson"]
[operations.parameters]
"body.account" = {dictionary = "query.account", probability = 0.9}
"body.requests[*].account" = {dictionary = "query.account", probability = 0.9}

# An account of its own, because the others cancel every booking of theirs.
[[operations]]
include-operation-id = ["CorrectName"]
[operations.parameters]
"body.account" = {dictionary = "one.account", probability = 0.9}
"path.booking_id" = {dictionary = "one.booking_id", probability = 0.9}
"body.queueNumber" = {dictionary = "one.queueNumber", probability = 0.9}
"""


def examine(address: str, crowd: Crowd, *arguments: str, document: Path = TARGET) -> Any:
    """Holds the gateway there against the document and prints what differs; gives schemathesis' report."""
    with TemporaryDirectory() as folder:
        config, report = Path(folder) / "schemathesis.toml", Path(folder) / "report.json"
        config.write_text(_RULES + "".join(_dictionaries(address, crowd)))
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(config)]
        command += ["run", str(document), "--url", f"http://{address}", "--phases", "coverage,fuzzing", *arguments]
        command += ["--continue-on-failure", "--report", "json", "--report-json-path", str(report)]
        subprocess.run(command, cwd=folder, check=False)
        return json.loads(report.read_text())


def _dictionaries(address: str, crowd: Crowd) -> Iterator[str]:
    """What makes most of the generated requests good ones: values by their places, as a configuration."""
    account, other, dates = crowd.request().account, crowd.request().account, [day.isoformat() for day in crowd.dates]
    one, *bookings = [_book(address, crowd, whose) for whose in (other, account, account)]
    numbers = list(range(1, 4))  # among these are those of the bookings
    known: dict[str, list[Any]] = {
        "path.booking_id": bookings,
        "one.account": [other],
        "one.booking_id": [one],
        "one.queueNumber": [1],
        "path.office_id": [PUSAT],
        "query.account": [account],
        "query.location.latitude": [JAKARTA.latitude],
        "query.location.longitude": [JAKARTA.longitude],
        "query.serviceDate": dates,
        "query.wait": ["0s", "0.5s"],
        "body.applicants[*].fullName": ["Siti Rahma", "Budi"],
        "body.applicants[*].nik": [crowd.person().nik for _ in range(500)],
        "body.bookingId": bookings,
        "body.location.latitude": [JAKARTA.latitude],
        "body.location.longitude": [JAKARTA.longitude],
        "body.officeId": [PUSAT, "kanim-jakarta-barat"],
        "body.fullName": ["Siti Rahma"],
        "body.provinceCode": ["ID-JK"],
        "body.queueNumber": numbers,
        "body.serviceDate": dates,
    }
    for place, values in known.items():
        yield f'[dictionaries."{place}"]\nvalues = {json.dumps(values)}\n'
    yield "[parameters]\n"
    for place in [name for name in known if not name.startswith("one.")]:
        for name in sorted({place, place.replace("body.", "body.requests[*].")}):
            yield f'"{name}" = {{dictionary = "{place}", probability = 0.9}}\n'


def _book(address: str, crowd: Crowd, account: str) -> str:
    """The id of a new booking of that account."""
    body = MessageToDict(crowd.request(account=account))
    headers = {"Content-Type": "application/json", "Idempotency-Key": body.pop("requestId")}
    request = Request(f"http://{address}/v1/bookings", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=20) as response:
        return str(json.load(response)["booking"]["bookingId"])


@pytest.fixture(scope="module")
def crowd(window: Window) -> Crowd:
    """The same people in every run."""
    return Crowd(6, window.dates)


@pytest.fixture(scope="module")
def report(stack: Stack, crowd: Crowd) -> Any:
    """What schemathesis found."""
    return examine(stack.http_address, crowd, "--max-examples", str(EXAMPLES), "--generation-deterministic")


def test_every_answer_is_one_that_the_document_has(report: Any) -> None:
    assert report["exit_code"] == 0, report["failures"]
    assert report["test_cases"]["generated"] > 1000


def test_good_requests_of_every_rpc_are_among_those_that_were_asked(report: Any) -> None:
    accepted = {rpc: sum(phase["accepted"] for phase in of.values()) for rpc, of in report["valid_rates"].items()}
    assert len(accepted) == len(ROUTES)
    assert all(accepted.values()), [rpc for rpc, count in accepted.items() if not count]


def test_a_document_that_says_something_else_is_caught(stack: Stack, crowd: Crowd, tmp_path: Path) -> None:
    document = json.loads(TARGET.read_text())
    document["components"]["schemas"]["Slot"]["required"].append("waiting")
    other = tmp_path / "openapi.json"
    other.write_text(json.dumps(document))
    few = ["--include-operation-id", "GetQuota", "--max-examples", "5"]
    found = examine(stack.http_address, crowd, *few, document=other)
    assert [failure["type"] for failure in found["failures"]] == ["JsonSchemaError"]
