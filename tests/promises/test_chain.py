"""P17: what was changed past the programs, by somebody who has the database but not the signing key, is named."""

import json
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from antrian.audit.check import Check
from antrian.audit.heads import new_signing_key
from antrian.booking import Cancel, CloseDate, Follow
from antrian.identity import booking_code, code_range
from antrian.ledger.chain import extend_chain, read_links
from tests.promises.test_verify import STAFF_ACTION, fill
from tests.support.ways_back import by, late, lift, undo
from tests.support.world import BOGOR, OPENS, PUSAT, TUESDAY, World
from workers.audit import Audit

PAST_TRIGGERS = "set session_replication_role = replica; "
"""What a superuser says to switch all triggers off."""


@pytest.fixture
def heads(world: World, tmp_path: Path) -> Path:
    """The heads file of the world, whose workers have a signing key from now on."""
    key = tmp_path / "signing.pem"
    key.write_bytes(new_signing_key())
    world.settings = world.settings.model_copy(update={"heads_file": tmp_path / "heads.jsonl", "signing_key_file": key})
    return tmp_path / "heads.jsonl"


def audit(world: World) -> None:
    """An audit of the workers, which adds links and signs the newest one."""
    world.redis.delete("audit")
    Audit(world.settings, lambda *_: None).once()


def changed(world: World) -> list[Check]:
    """The checks of P17 that found something."""
    return [check for check in world.verify() if check.promise == "P17"]


def named(world: World) -> str:
    """What these checks name, together."""
    return "; ".join(check.first for check in changed(world))


def rewrite(world: World) -> None:
    """Makes a whole chain anew, as one who has the database and this program can."""
    world.sql(PAST_TRIGGERS + "delete from link")
    with psycopg.connect(world.settings.database_url, autocommit=True) as ledger:
        assert extend_chain(ledger)


def read(heads: Path) -> str:
    return heads.read_text()


def write(heads: Path, *lines: str) -> None:
    """Makes the file of these lines."""
    heads.write_text("".join(lines))


async def one_more(world: World) -> None:
    """Another booking is recorded."""
    await world.ticket(world.request(30, office_id=BOGOR))
    world.turn(BOGOR)


def steal(world: World) -> None:
    """Gives the place of booking 1 to the person of booking 2, and leaves no trace in the journal."""
    world.sql(
        PAST_TRIGGERS + "update applicant set applicant_key = decode(repeat('ab', 16), 'hex') where number = 1"
        " and booking_id = (select booking_id from booking where ticket = 1 and office_id = 'kanim-pusat')"
    )


def steal_and_rewrite(world: World) -> None:
    steal(world)
    rewrite(world)


def past(statement: str) -> Callable[[World], object]:
    return lambda world: world.sql(PAST_TRIGGERS + statement)


TICKETS = f"link 1 ({PUSAT}, tickets 1 to 5): a row that it covers was changed"
ENTRIES = "(journal, entries"
NOT_JOURNALED = ", which the journal lacks"

TAMPERED: list[tuple[str, Callable[[World], object]]] = [
    (TICKETS, past("update booking set account = 'broker' where ticket = 2")),
    (TICKETS, past("update booking set state = 'ATTENDED' where ticket = 2")),
    (TICKETS, past("update booking set slot_id = (select max(slot_id) from slot) where ticket = 1")),
    (TICKETS, past("update booking set ticket = 99 where ticket = 1")),
    (TICKETS, past("delete from booking where ticket = 3")),
    (TICKETS, past("update applicant set encrypted = 'x' where number = 2")),
    (TICKETS, past("update applicant set live = false where number = 2")),
    (TICKETS, past("delete from applicant where number = 2")),
    (TICKETS, past("truncate booking, applicant, bar")),
    (TICKETS, steal),
    ("booking ", past("update booking set reason = null where ticket = 5")),
    ("staff_action ", past("truncate staff_action")),
    ("staff_action ", past("update staff_action set staff = 'siti'")),
    (NOT_JOURNALED, past(STAFF_ACTION.format("siti", "banjir"))),
    ("policy_version 1", past("update policy_version set why = 'another'")),
    (TICKETS, past("truncate journal")),
    (ENTRIES, past("update journal set made_by = 'nobody' where entry = (select max(entry) from journal)")),
    (ENTRIES, past("delete from journal where kind = 'staff_action'")),
    ("is missing, but line 1 of the heads file has it signed", past("truncate link")),
    ("link 1 is missing", past("delete from link where link = 1")),
    ("link 2 ", past("update link set last = last + 1 where link = 2")),
    ("its hash does not follow", past("update link set hash = sha256('x') where link = 1")),
    ("link 2 is not the one that line 1 of the heads file has signed", steal_and_rewrite),
    ("booking_journal", lambda world: world.sql("alter table booking disable trigger booking_journal")),
]
"""What is named for each tampering with the database."""


@pytest.fixture
async def sealed(world: World, heads: Path) -> AsyncIterator[World]:
    """Five bookings, of which the last one was cancelled when its day was closed; all of it is in the chain, and signed."""
    await fill(world)
    world.turn()
    await world.ask(CloseDate(**by(), service_date=TUESDAY.service_date))
    audit(world)
    yield world
    world.sql("alter table booking enable trigger booking_journal")


async def test_nothing_is_named_before_and_after_the_audit(world: World, heads: Path) -> None:
    await fill(world)
    assert world.verify() == []
    audit(world)
    assert world.verify() == []
    assert len(read(heads).splitlines()) == 1
    audit(world)  # nothing is new
    assert len(read(heads).splitlines()) == 1


@pytest.mark.parametrize(("what", "tamper"), TAMPERED, ids=lambda value: value if isinstance(value, str) else "")
async def test_each_tampering_is_named(sealed: World, what: str, tamper: Callable[[World], object]) -> None:
    assert sealed.verify() == []
    tamper(sealed)
    assert what in named(sealed)


async def test_only_the_signed_heads_show_that_a_whole_chain_was_rewritten(sealed: World, heads: Path) -> None:
    steal_and_rewrite(sealed)
    write(heads)
    assert named(sealed) == ""


async def test_workers_sign_no_chain_that_was_rewritten(sealed: World, heads: Path) -> None:
    before = read(heads)
    steal_and_rewrite(sealed)
    await one_more(sealed)
    audit(sealed)
    assert read(heads) == before


def forge(line: dict[str, str]) -> str:
    return json.dumps(line | {"hash": "00" * 32}) + "\n"


async def test_changed_and_removed_lines_of_the_heads_file_are_named(sealed: World, heads: Path) -> None:
    await one_more(sealed)
    audit(sealed)
    first, second = read(heads).splitlines(keepends=True)
    write(heads, second)
    assert "line 1 of the heads file: a line before it was removed" in named(sealed)
    write(heads, forge(json.loads(first)), second)
    assert "line 1 of the heads file: its signature" in named(sealed)
    write(heads, "nothing\n")
    assert "line 1 of the heads file: it is not a signed head" in named(sealed)
    write(heads, first, second)
    assert named(sealed) == ""


async def test_a_key_of_somebody_else_signs_nothing(sealed: World, heads: Path) -> None:
    (heads.parent / "signing.pem").write_bytes(new_signing_key())
    assert "line 1 of the heads file: its signature" in named(sealed)


async def test_a_line_that_a_crash_cut_off_is_written_again(sealed: World, heads: Path) -> None:
    whole = read(heads)
    write(heads, whole, whole[:40])
    assert named(sealed) == ""
    await one_more(sealed)
    audit(sealed)
    assert read(heads).startswith(whole + '{"link": 3')
    assert named(sealed) == ""


async def test_heads_that_nobody_signs_are_named(sealed: World, heads: Path) -> None:
    write(heads)
    assert named(sealed) == ""  # not yet
    sealed.sql(PAST_TRIGGERS + "update link set made_at = made_at - interval '1 day'")
    assert f"link 1 ({PUSAT}, tickets 1 to 5) is from " in named(sealed)


async def test_everything_that_may_happen_to_a_booking_is_covered(world: World, heads: Path) -> None:
    requests = [world.request(n, [2 * n, 2 * n + 1]) for n in range(1, 5)]
    for request in requests:
        await world.ticket(request)
    world.turn()
    audit(world)
    came, missed, gone, shrunk = requests
    await world.ask(Cancel(gone.booking_id))
    await world.ask(Cancel(shrunk.booking_id, 7))
    world.set_clock(OPENS + timedelta(days=2, hours=20))  # Monday morning
    codes = code_range(booking_code(came.booking_id))
    await world.staff.check_in(PUSAT, codes, [1], "desk", "rina")
    await world.ask(Follow(came.booking_id))
    await world.ask(undo(came, 1))
    await world.staff.check_in(PUSAT, codes, [1], "desk", "rina")
    assert named(world) == ""
    audit(world)
    world.set_clock(OPENS + timedelta(days=3, hours=14))
    world.nightly()
    await world.ask(late(world.policy, missed, 3))
    await world.ask(lift(missed, 4))
    assert named(world) == ""
    audit(world)
    world.rebuild()
    assert named(world) == ""
    kinds = dict(world.sql("select kind, count(*) from journal group by kind"))
    assert set(kinds) == {"booking", "applicant", "bar", "staff_action", "policy_version"}
    with psycopg.connect(world.settings.database_url) as ledger:
        assert sum(link.covers.office_id is None for link in read_links(ledger)) == 3


async def test_entries_that_are_committed_late_are_not_passed_over(world: World) -> None:
    await fill(world)
    with psycopg.connect(world.settings.database_url) as slow:
        slow.execute("update booking set reason = null where ticket = 1")
        slow.execute("update booking set account = 'late' where ticket = 1")  # entry n, not committed yet
        world.sql("update booking set account = 'early' where ticket = 2")  # entry n + 1
        ended = threading.Event()

        def extend() -> None:
            with psycopg.connect(world.settings.database_url, autocommit=True) as ledger:
                extend_chain(ledger)
            ended.set()

        thread = threading.Thread(target=extend)
        thread.start()
        assert not ended.wait(0.5)
        slow.commit()
        thread.join(10)
    assert ended.is_set()
    assert named(world) == ""


async def test_a_transaction_that_does_not_end_leaves_the_journal_for_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antrian.ledger.chain._SETTLE_WITHIN", 0.1)
    await fill(world)
    with (
        psycopg.connect(world.settings.database_url) as slow,
        psycopg.connect(world.settings.database_url, autocommit=True) as ledger,
    ):
        slow.execute("update booking set account = 'late' where ticket = 1")
        extend_chain(ledger)
        assert [str(link.covers) for link in read_links(ledger)] == [f"{PUSAT}, tickets 1 to 4"]
        slow.commit()
        extend_chain(ledger)
        assert [link.covers.office_id for link in read_links(ledger)] == [PUSAT, None]
    assert named(world) == ""
