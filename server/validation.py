"""Validates requests, without access to a store: RequestBooking to a JoinRequest, and fields that several rpcs share."""

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from uuid import UUID

from antrian import rules
from antrian.booking import EncryptedApplicant, Office, Person, Session, Slot
from antrian.errors import AntrianError, Reason, invalid
from antrian.identity import Keys, check_party
from antrian.lane.producer import JoinRequest
from antrian.text import check_account, compact, plain
from antrian.v1.booking_service_pb2 import RequestBookingRequest
from antrian.v1.messages_pb2 import Location
from antrian.v1.messages_pb2 import Session as WireSession
from antrian.words import initial_of
from server.caller import Caller
from server.office_cache import Catalog
from server.origin import read_origin

SESSIONS = {
    WireSession.SESSION_MORNING: Session.MORNING,
    WireSession.SESSION_AFTERNOON: Session.AFTERNOON,
}
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UUID = re.compile("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


class Admission:
    """Checks requests against the catalog, and replaces their applicants by keys and encrypted data."""

    def __init__(self, catalog: Catalog, keys: Keys) -> None:
        self._catalog = catalog
        self._keys = keys
        self._slot = lru_cache(maxsize=1024)(_slot)

    def admit(self, request: RequestBookingRequest, caller: Caller) -> JoinRequest:
        """Returns the request that joins the lane.

        Raises errors that do not depend on when the request is sent, such as a malformed field or an unknown office. An error
        that depends on the day, the device's location, the caller's rights or the office's retirement becomes the verdict, which does not apply to
        the retry of a request that was accepted.
        """
        keys, account = self._keys, check_account(request.account)
        request_id = check_uuid(request.request_id, "request_id")
        office = self._catalog.office(request.office_id)
        slot = self._slot(request.service_date, request.session)
        people = [Person(compact(applicant.nik), plain(applicant.full_name)) for applicant in request.applicants]
        try:
            check_party(self._catalog.policy, people, self._catalog.nik_codes)
        except AntrianError as refusal:
            refusal.initial = initial_of(refusal.field, [person.full_name for person in people])
            raise
        verdict = (
            _refuse_verified(request, caller)
            or rules.refuse_office(office)
            or self._catalog.refuse_day(slot.service_date)
            or self._judge_whereabouts(request, office, caller)
        )
        named_origin = caller.acts_for_citizens and request.HasField("origin")
        origin = read_origin(keys, request.origin) if named_origin else b""

        booking_id = keys.booking_id(caller.name, request_id)
        encrypted, named = [], []
        for person, applicant in zip(people, request.applicants, strict=True):
            key = keys.applicant_key(person.nik)
            encrypted.append(EncryptedApplicant(key, keys.encrypt(booking_id, key, person), applicant.verified))
            named.append((key, person.full_name))
        return JoinRequest(
            booking_id=booking_id,
            fingerprint=keys.fingerprint(office.office_id, slot, named, [one.key for one in encrypted if one.verified]),
            owner=keys.owner(caller.name, account),
            caller=caller.name,
            account=account,
            office_id=office.office_id,
            slot=slot,
            windows=self._catalog.windows_of(slot.service_date),
            applicants=tuple(encrypted),
            refusal=verdict,
            origin=origin,
        )

    def _judge_whereabouts(self, request: RequestBookingRequest, office: Office, caller: Caller) -> AntrianError | None:
        which = request.WhichOneof("whereabouts")
        if which is None:
            raise location_missing()
        if which == "location":
            try:
                provinces: Sequence[str] = locate(self._catalog, request.location)
            except AntrianError as refusal:
                if refusal.reason is Reason.INVALID_FIELD:
                    raise
                return refusal
        else:
            provinces = (check_province(self._catalog, request.province_code),)
            if not caller.vouches:
                return AntrianError(Reason.LOCATION_REQUIRED, field="location")
        return rules.judge_province(self._catalog.policy, office.province_code, provinces)


def _refuse_verified(request: RequestBookingRequest, caller: Caller) -> AntrianError | None:
    """Returns the refusal of the first applicant whom this caller may not call verified."""
    if not caller.may_verify:
        for index, applicant in enumerate(request.applicants):
            if applicant.verified:
                return AntrianError(Reason.VERIFIED_NOT_ALLOWED, field=f"applicants[{index}].verified")
    return None


def _slot(service_date: str, session: WireSession.ValueType) -> Slot:
    return Slot(parse_day(service_date), check_session(session))


def parse_day(text: str) -> date:
    """Returns the service date that is written as YYYY-MM-DD. Raises INVALID_FIELD for any other form."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise invalid("service_date", "harus ditulis TTTT-BB-HH, misalnya 2026-11-30", "must be a date, YYYY-MM-DD")


def check_session(session: WireSession.ValueType) -> Session:
    """Returns the session. Raises INVALID_FIELD when it is unspecified or unknown."""
    if session not in SESSIONS:
        raise invalid("session", "pilih pagi atau siang", "choose the morning or the afternoon")
    return SESSIONS[session]


def locate(catalog: Catalog, location: Location) -> Sequence[str]:
    """Returns the province(s) of a location, nearest first.

    Raises INVALID_FIELD, OUTSIDE_INDONESIA and LOCATION_TOO_COARSE.
    """
    for name in ("latitude", "longitude"):
        if not location.HasField(name):
            raise invalid(
                f"location.{name}",
                "belum disertakan; izinkan aplikasi memakai lokasi perangkat",
                "is missing; let the app use the device's location",
            )
    accuracy = location.accuracy_m if location.HasField("accuracy_m") else None
    return catalog.map.whereabouts(location.latitude, location.longitude, accuracy, catalog.policy)


def check_uuid(text: str, field: str) -> UUID:
    """Returns the UUID. Raises INVALID_FIELD for any other text."""
    uuid = plain(text)
    if not _UUID.fullmatch(uuid):
        raise invalid(
            field,
            "harus UUID, misalnya 6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
            "must be a UUID such as 6f1c2d34-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
        )
    return UUID(uuid)


def check_province(catalog: Catalog, code: str) -> str:
    """Returns the province's code. Raises INVALID_FIELD if it is unknown."""
    if code not in catalog.provinces:
        raise invalid(
            "province_code", "harus kode ISO 3166-2, misalnya ID-JK", "must be an ISO 3166-2 code, such as ID-JK"
        )
    return code


def location_missing() -> AntrianError:
    """Returns the refusal of a request without whereabouts."""
    return invalid("location", "sertakan lokasi perangkat atau provinsi", "give the device's location or a province")
