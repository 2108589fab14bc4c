"""A poison ticket is found, refused alone with an alarm, its number retired; the others of its turn and the lane go on."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from antrian.booking import Cancel, EncryptedApplicant
from antrian.lane.producer import JoinRequest
from tests.support.world import PUSAT, World


def nul_in_its_account(request: JoinRequest) -> JoinRequest:
    """Postgres takes no such text."""
    return replace(request, account="acc\0ount")


def without_its_ciphertext(request: JoinRequest) -> JoinRequest:
    """Nobody could ever be called by name."""
    return replace(request, applicants=tuple(EncryptedApplicant(a.key, b"") for a in request.applicants))


@pytest.mark.parametrize("poison", [nul_in_its_account, without_its_ciphertext])
async def test_a_single_poison_ticket_is_rejected_alone(
    world: World, caplog: pytest.LogCaptureFixture, poison: Callable[[JoinRequest], JoinRequest]
) -> None:
    requests = [world.request(n) for n in range(1, 6)]
    requests[2] = poison(requests[2])
    for request in requests:
        await world.ticket(request)
    assert world.turn() == 5
    assert world.sql("select ticket, state, reason, first_number from booking order by ticket") == [
        (1, "CONFIRMED", None, 1),
        (2, "CONFIRMED", None, 2),
        (3, "REJECTED", "INTERNAL", 3),
        (4, "CONFIRMED", None, 4),
        (5, "CONFIRMED", None, 5),
    ]
    assert [record.levelname for record in caplog.records if "ticket 3 refused" in record.getMessage()] == ["ERROR"]
    assert world.remaining() == 2
    assert world.verify() == []
    assert await world.ticket(world.request(30, [3])) == 6


async def test_all_poison_tickets_of_a_turn_are_found(world: World) -> None:
    poisoned = {2, 3, 9}
    for n in range(1, 11):
        request = world.request(n)
        await world.ticket(nul_in_its_account(request) if n in poisoned else request)
    assert world.turn() == 10
    refused = world.sql("select ticket from booking where reason = 'INTERNAL' order by ticket")
    assert {ticket for (ticket,) in refused} == poisoned & set(range(1, 7))  # the others found no place anyhow
    assert world.verify() == []


async def test_an_unreadable_poison_ticket_quarantines_the_lane_and_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = f"queue:{{{PUSAT}}}"
    await world.ticket(world.request(1))
    entries: Any = world.redis.xrange(consumer)
    [(_, fields)] = entries
    world.redis.delete(consumer)
    world.redis.xadd(consumer, {b"r": fields[b"r"][:40]}, id="1-0")
    assert world.turn() == 0
    assert "ticket 1 cannot be read" in caplog.text
    assert caplog.records[-1].levelno == logging.CRITICAL
    assert not world.consumer.audit(PUSAT).opened


async def test_an_unreadable_command_is_skipped_alone(world: World) -> None:
    request = world.request(1)
    await world.ticket(request)
    world.turn()
    await world.producer.send_command(PUSAT, Cancel(request.booking_id))
    world.redis.xadd(f"commands:{{{PUSAT}}}", {"d": "{}"}, id="2-0")
    world.redis.hset(f"lane:{{{PUSAT}}}", "command", 2)
    world.turn()
    assert (await world.recorded(request)).state == "CANCELLED"
    assert world.consumer.audit(PUSAT).commands_waiting == 0
    assert world.verify() == []


async def test_a_turn_that_cannot_be_recorded_quarantines_the_lane(world: World) -> None:
    await world.ticket(world.request(1))
    world.sql("alter table booking add constraint none check (ticket <> 1)")
    try:
        assert world.turn() == 0
    finally:
        world.sql("alter table booking drop constraint none")
    assert not world.consumer.audit(PUSAT).opened
    with pytest.raises(AssertionError):
        world.take()
