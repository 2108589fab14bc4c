"""The story of a life holds on the code as it is, and names the promise that a deliberately broken variant breaks."""

import pytest

from antrian import lane, ledger
from tests.promises.life_story import broken_promises_of_a_life
from tests.promises.test_variants import Variant
from tests.support.world import World

VARIANTS = [
    Variant("P1", "a quota below what is taken is not refused", "set_quota.sql", "when slot.taken > %(quota)s then 'QUOTA_BELOW_TAKEN'", ""),
    Variant("P3", "no fencing at the desk", "settle_desk", "if fenced(office, token)", "if false"),
    Variant("P4", "a ledger does not know its keys", "key_check_values.sql", "from key_check_value", "from key_check_value where false"),
    Variant("P4", "who cancelled stays taken", "settle_desk", "do free(ARGV[i], ARGV[i + 1]) end", "do end"),
    Variant("P9", "the bars are not put back", "restore", "bucket('applicants', person), person) == 0", "bucket('applicants', person), person) == 2"),
    Variant("P9", "the requests are not put back", "restore", "if fingerprint ~= '' then", "if false then"),
    Variant("P9", "a lane opens on a Redis that is not whole", "open", "redis.call('EXISTS', 'whole') == 0", "false"),
    Variant("P9", "an epoch has no tokens of its own", "open_lane.sql", "(epoch + 1)::bigint << 32", "token + 1"),
    Variant("P4", "who gave up stays taken", "desk_freed.sql", "any(%(booking_ids)b::uuid[]) and not a.live", "any(%(booking_ids)b::uuid[]) and b.state = 'CANCELLED'"),
    Variant("P4", "an account's count is not reduced", "settle_desk", "count_live(owner, held_by(owner), id, -1)", ""),
    Variant("P10", "a person's place comes back each time", "cancel.sql", "        and applicant.live\n", ""),
    Variant("P10", "a person's place comes back again with the booking", "cancel.sql", "taken - gone.places", "taken - case when ends then party_size else gone.places end"),
    Variant("P10", "a cancel on the day itself", "cancel.sql", "(%(staff)s::text is not null)::int", "1"),
    Variant("P10", "a release takes the people of others along", "cancel.sql", "applicant.number between first_number and first_number + party_size - 1", "true"),
    Variant("P10", "who gave up is barred", "finish_day.sql", "and applicant.live", "and (applicant.live or applicant.cancelled_at is not null)"),
    Variant("P10", "counters are changed, not set", "settle_desk", "tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])", "tonumber(ARGV[i + 1]), counters.left + 1"),
    Variant("P10", "a closed day does not free its people", "close_date.sql", "and applicant.live", "and false"),
    Variant("P10", "who came is barred too", "finish_day.sql", "applicant.slot_id = day.slot_id and applicant.live", "applicant.slot_id = day.slot_id"),
    Variant("P10", "the bar is not told to Redis", "release", "ends > 0 and #ARGV[i + 1] or 0", "0"),
    Variant("P10", "a holiday is not carried to the days that exist", "unserved_days.sql", "slot.service_date = any(%(holidays)s::date[])", "false"),
    Variant("P10", "who missed a day without service is barred", "days_over.sql", "office.office_id <> all(%(waiting)s::text[])", "%(waiting)s::text[] is not null"),
    Variant("P10", "a day that is over cannot be closed", "close_date.sql", "from day_done\n", "from slot as day_done\n"),
    Variant("P15", "a rebuild passes a retired office by", "offices.sql", "order by", "where retired_at is null order by"),
    Variant("P15", "the sweep passes desks by", "sweep", "or lane.desk ~= lane.desked or lane.stocked", "or lane.stocked"),
    Variant("P16", "the first policy stays in force", "newest_policy.sql", "order by version desc", "order by version"),
]  # fmt: skip


async def test_the_promises_hold_through_a_life(world: World) -> None:
    assert await broken_promises_of_a_life(world) == set()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.promise}: {v.name}")
async def test_a_broken_variant_of_a_life_is_caught_by_name(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    def changed(text: str) -> str:
        assert text.count(variant.old) == 1, "the variant no longer fits"
        return text.replace(variant.old, variant.new)

    def script(name: str) -> str:
        return changed(lane.script(name)) if name == variant.file else lane.script(name)

    def sql(name: str) -> str:
        return changed(ledger.sql(name)) if f"{name}.sql" == variant.file else ledger.sql(name)

    for module in ("drainer", "front", "rebuilder"):
        monkeypatch.setattr(f"antrian.lane.{module}.script", script)
    for module in ("recorder", "turns", "desk", "days", "staff", "keys", "policies"):
        monkeypatch.setattr(f"antrian.ledger.{module}.sql", sql)
    async with World(redis_url, database_url) as world:
        assert variant.promise in await broken_promises_of_a_life(world)
