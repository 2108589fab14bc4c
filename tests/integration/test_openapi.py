"""clients/gateway/openapi.json is what the protos say; the page to read it needs nothing from elsewhere."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from clients.gateway.routes import ROUTES
from protos.openapi import TARGET, generate

DOCS = TARGET.parent / "docs"


@pytest.fixture(scope="module")
def text() -> str:
    """The committed document."""
    return TARGET.read_text()


@pytest.fixture
def document(text: str) -> Any:
    """The same, parsed."""
    return json.loads(text)


def test_the_committed_document_is_what_the_protos_make(text: str) -> None:
    assert text == generate(), "run `make protos`"


def test_the_document_is_valid_openapi(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()
    del document["info"]
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(document).validate()


def test_schemas_are_valid_json_schema_and_references_resolve(document: Any, text: str) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    for path in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found = document
        for part in path.split("/"):
            found = found[part]
        assert found


def test_the_document_has_every_route_of_the_gateway_and_no_host(document: Any, text: str) -> None:
    told = {
        of["operationId"]: (verb.upper(), path)
        for path, verbs in document["paths"].items()
        for verb, of in verbs.items()
    }
    assert told.keys() == {route.rpc for route in ROUTES}
    for route in ROUTES:
        verb, path = told[route.rpc]
        assert (verb, bool(route.path.fullmatch(path))) == (route.verb, True)
    assert "://" not in text


@pytest.mark.parametrize(
    ("message", "field", "limits"),
    [
        ("RequestBookingBody", "applicants", {"minItems": 1}),
        ("RequestBookingBody", "serviceDate", {"format": "date"}),
        ("RequestBookingBody", "account", {"pattern": "^[A-Za-z0-9._:@-]{1,64}$"}),
        ("RequestBookingRequest", "requestId", {"format": "uuid"}),
        ("Applicant", "nik", {"pattern": "^[0-9]{16}$"}),
        ("Applicant", "fullName", {"minLength": 1, "maxLength": 100}),
        ("Location", "latitude", {"minimum": -90, "maximum": 90}),
        ("BatchGetBookingsRequest", "requests", {"minItems": 1, "maxItems": 200}),
        ("Booking", "ticket", {"type": "string", "format": "int64"}),
        ("Booking", "readTime", {"type": "string", "format": "date-time"}),
    ],
)
def test_limits_match_the_comments_of_the_protos(
    document: Any, message: str, field: str, limits: dict[str, Any]
) -> None:
    schema = document["components"]["schemas"][message]["properties"][field]
    assert schema | limits == schema


def test_request_schemas_list_required_fields_and_forbid_unknown_ones(document: Any) -> None:
    body = document["components"]["schemas"]["RequestBookingBody"]
    assert body["required"] == ["account", "officeId", "serviceDate", "session", "applicants"]
    assert body["oneOf"] == [{"required": ["location"]}, {"required": ["provinceCode"]}]
    assert body["additionalProperties"] is False
    assert "requestId" not in body["properties"]
    keys = [p for p in document["paths"]["/v1/bookings"]["post"]["parameters"] if p.get("name") == "Idempotency-Key"]
    assert [key["required"] for key in keys] == [True]


def test_a_location_requires_both_coordinates_but_is_optional_in_a_query(document: Any) -> None:
    assert document["components"]["schemas"]["Location"]["required"] == ["latitude", "longitude"]
    query = {p.get("name"): p.get("required") for p in document["paths"]["/v1/offices"]["get"]["parameters"]}
    assert not query["location.latitude"]


def test_messages_that_are_never_sent_are_left_out(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Session"]["enum"] == ["SESSION_MORNING", "SESSION_AFTERNOON"]
    assert "BOOKING_STATE_UNSPECIFIED" not in schemas["BookingState"]["enum"]
    assert "STATUS_REASON_UNSPECIFIED" in schemas["StatusReason"]["enum"]


def test_reasons_are_listed_under_their_http_status(document: Any) -> None:
    cancel = document["paths"]["/v1/bookings/{booking_id}:cancel"]["post"]
    assert {"BOOKING_NOT_FOUND", "NOT_DECIDED_YET"} < {*cancel["x-reasons"]}
    assert "`BOOKING_NOT_FOUND`" in cancel["responses"]["404"]["description"]
    assert "`LANE_FULL`" in cancel["responses"]["503"]["description"]


def test_the_page_loads_only_local_files() -> None:
    page = (DOCS / "index.html").read_text()
    loaded = set(re.findall(r'(?:src|href|url)(?:=|: )"([^"]*)"', page))
    assert loaded == {"/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/openapi.json", "data:,"}
    assert all((DOCS / path.removeprefix("/docs/")).is_file() for path in loaded if path.startswith("/docs/"))
    assert "validatorUrl: null" in page
