"""A line entry: what is packed is read again, and what is not whole is told from what is."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrian.booking import EncryptedApplicant, QueueEntry, Session, Slot
from antrian.lane.codec import pack_request, read_queue_entry

SLOT = Slot(date(2026, 11, 30), Session.AFTERNOON)
NAMES = st.text(max_size=63)
PEOPLE = st.lists(
    st.builds(
        EncryptedApplicant, st.binary(min_size=16, max_size=16), st.binary(min_size=1, max_size=300), st.booleans()
    ),
    min_size=1,
    max_size=5,
)
MOMENT = b" 1764150000000"


@given(
    booking_id=st.binary(min_size=16, max_size=16),
    fingerprint=st.binary(min_size=8, max_size=8),
    caller=NAMES,
    account=NAMES,
    people=PEOPLE,
)
def test_packed_requests_round_trip(
    booking_id: bytes, fingerprint: bytes, caller: str, account: str, people: list[EncryptedApplicant]
) -> None:
    text = pack_request(SLOT, booking_id, fingerprint, caller, account, people) + MOMENT
    entry = QueueEntry(
        1764150000000, SLOT, booking_id, fingerprint, caller.encode(), account.encode(), tuple(people)
    )  # fmt: skip
    assert read_queue_entry(text) == (entry, True)


@pytest.mark.parametrize("encrypted", [(b"",), (b"one", b"")])
def test_an_entry_with_a_person_without_encrypted_data_is_unsound(encrypted: tuple[bytes, ...]) -> None:
    people = [EncryptedApplicant(bytes(16), one) for one in encrypted]
    assert not read_queue_entry(pack_request(SLOT, bytes(16), bytes(8), "a", "b", people) + MOMENT)[1]


def test_a_truncated_entry_is_unreadable_or_unsound() -> None:
    people = [EncryptedApplicant(bytes(16), b"x" * 60), EncryptedApplicant(bytes(16), b"y" * 70)]
    request = pack_request(SLOT, bytes(16), bytes(8), "gateway", "account-1", people)
    for length in range(len(request)):
        try:
            _, sound = read_queue_entry(request[:length] + MOMENT)
        except ValueError:
            continue
        assert not sound, length
