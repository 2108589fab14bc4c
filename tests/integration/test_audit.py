"""What the running audit says, and what it and Prometheus see of the lanes."""

import logging
from collections.abc import Mapping
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.world import BOGOR, OPENS, PUSAT, World
from workers.audit import Audit
from workers.metrics import Lanes


class Supervisor:
    """A supervisor's audit, and what it showed."""

    def __init__(self, world: World) -> None:
        self.shown: list[Mapping[str, int]] = []
        self.audit = Audit(world.settings, lambda violations, _: self.shown.append(violations))

    def again(self, world: World) -> Mapping[str, int]:
        """An audit of the next period."""
        world.redis.delete("audit")
        self.audit.once()
        return self.shown[-1]


async def test_a_clean_audit_is_logged_once_and_a_violation_every_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "workers.audit")
    supervisor = Supervisor(world)
    for _ in range(2):
        assert not any(supervisor.again(world).values())
    assert caplog.messages == ["audit: all promises hold"]
    world.redis.set("stray", "3171014107900001")
    for _ in range(2):
        caplog.clear()
        assert {promise for promise, count in supervisor.again(world).items() if count} == {"P14"}
        [record] = caplog.records
        assert record.levelname == "ERROR"
        assert record.getMessage().startswith("violation of P14: no unencrypted NIK in Redis: 1 of ")
    world.redis.delete("stray")
    caplog.clear()
    supervisor.again(world)
    assert caplog.messages == ["audit: all promises hold"]


async def test_only_one_of_two_supervisors_audits_and_reports_violations(world: World) -> None:
    one, other = Supervisor(world), Supervisor(world)
    world.redis.set("stray", "3171014107900001")
    one.audit.once()
    other.audit.once()
    assert one.shown[-1]["P14"] == 1
    assert other.shown == [{}]
    assert 0 < int(world.redis.pttl("audit")) <= world.settings.audit_seconds * 1000
    assert other.again(world)["P14"] == 1
    one.audit.once()
    assert one.shown[-1] == {}


async def test_depth_reports_the_waiting_requests_and_the_age_of_the_oldest(world: World) -> None:
    nothing = {PUSAT: (0, timedelta(0)), BOGOR: (0, timedelta(0))}
    assert world.consumer.depth([PUSAT, BOGOR]) == nothing
    for person in (1, 2):
        await world.ticket(world.request(person))
    world.set_clock(OPENS + timedelta(minutes=11))
    depths = world.consumer.depth([PUSAT, BOGOR, "kanim-atlantis"])
    assert depths[PUSAT][0] == 2
    assert timedelta(minutes=9) < depths[PUSAT][1] < timedelta(minutes=11)
    assert depths[BOGOR] == depths["kanim-atlantis"] == (0, timedelta(0))
    world.turn()
    assert world.consumer.depth([PUSAT, BOGOR]) == nothing


async def test_lane_gauges_are_absent_rather_than_zero_while_redis_is_down(world: World) -> None:
    registry, lanes = CollectorRegistry(), Lanes(world.settings)
    registry.register(lanes)
    assert f'antrian_lane_waiting{{office="{PUSAT}"}} 0.0' in generate_latest(registry).decode()
    away = Lanes(world.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))
    registry = CollectorRegistry()
    registry.register(away)
    assert "antrian_lane_waiting{" not in generate_latest(registry).decode()
