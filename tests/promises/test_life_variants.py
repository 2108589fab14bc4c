"""The scenarios break no promise on the real code, and name the promise that each broken variant breaks."""

from collections.abc import Awaitable, Callable

import pytest

from antrian import lane, ledger
from tests.promises.asking_story import broken_promises_of_asking
from tests.promises.life_story import broken_promises_of_a_life
from tests.promises.limits_story import broken_promises_of_limits
from tests.promises.names_story import broken_promises_of_names
from tests.promises.test_variants import Variant
from tests.promises.verified_story import broken_promises_of_verified_people
from tests.promises.ways_back_story import broken_promises_of_the_ways_back
from tests.support.world import World

VARIANTS = [
    Variant("P1", "a quota below what is taken is not refused", "set_quota.sql", "when slot.taken > %(quota)s then 'QUOTA_BELOW_TAKEN'", ""),
    Variant("P3", "no fencing at the desk", "settle_commands", "if fenced(office, token)", "if false"),
    Variant("P4", "a ledger does not know its keys", "key_check_values.sql", "from key_check_value", "from key_check_value where false"),
    Variant("P4", "who cancelled stays taken", "settle_commands", "do free(ARGV[i], ARGV[i + 1]) end", "do end"),
    Variant("P9", "the bars are not put back", "restore", "do bar(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end", "do end"),
    Variant("P9", "the requests are not put back", "restore", "if fingerprint ~= '' then", "if false then"),
    Variant("P9", "a lane opens on a Redis that is not whole", "open", "redis.call('EXISTS', 'restored') == 0", "false"),
    Variant("P9", "an epoch has no tokens of its own", "open_lane.sql", "(epoch + 1)::bigint << 32", "token + 1"),
    Variant("P4", "who gave up stays taken", "command_freed.sql", "any(%(booking_ids)b::uuid[])\n    and not a.live", "any(%(booking_ids)b::uuid[]) and b.state = 'CANCELLED'"),
    Variant("P4", "an account's count is not reduced", "settle_commands", "count_live(owner, held_by(owner), id, -1)", ""),
    Variant("P10", "a person's place comes back each time", "cancel.sql", "        and applicant.live\n", ""),
    Variant("P10", "a person's place comes back again with the booking", "cancel.sql", "taken - gone.places", "taken - case when ends then party_size else gone.places end"),
    Variant("P10", "a cancel on the day itself", "cancel.sql", "(%(staff)s::text is not null)::int", "1"),
    Variant("P10", "a release takes the people of others along", "cancel.sql", "applicant.number between first_number and first_number + party_size - 1", "true"),
    Variant("P10", "who gave up is barred", "finish_day.sql", "and applicant.live", "and (applicant.live or applicant.cancelled_at is not null)"),
    Variant("P10", "counters are changed, not set", "settle_commands", "tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])", "tonumber(ARGV[i + 1]), counters.remaining + 1"),
    Variant("P10", "a closed day does not free its people", "close_date.sql", "and applicant.live", "and false"),
    Variant("P10", "who came is barred too", "finish_day.sql", "applicant.slot_id = day.slot_id and applicant.live", "applicant.slot_id = day.slot_id"),
    Variant("P10", "the bar is not told to Redis", "release", "ends > 0 and #people or 0", "0"),
    Variant("P10", "a holiday is not carried to the days that exist", "unserved_days.sql", "slot.service_date = any(%(holidays)s::date[])", "false"),
    Variant("P10", "who missed a day without service is barred", "days_over.sql", "office.office_id <> all(%(waiting)s::text[])", "%(waiting)s::text[] is not null"),
    Variant("P10", "a day that is over cannot be closed", "close_date.sql", "from day_done\n", "from slot as day_done\n"),
    Variant("P15", "a rebuild passes a retired office by", "offices.sql", "order by", "where retired_at is null order by"),
    Variant("P15", "the sweep passes desks by", "sweep", "or lane.command ~= lane.settled_command or lane.inventory", "or lane.inventory"),
    Variant("P16", "the first policy stays in force", "newest_policy.sql", "order by version desc", "order by version"),
]  # fmt: skip

WAYS_BACK = [
    Variant("P4", "an undone check-in takes the people of a request in line", "claim", "elseif entry ~= claim and taken == 0 then", "elseif false then"),
    Variant("P4", "an undone check-in holds nobody in Redis", "claim", "redis.call('HSET', bucket('applicants', again[1]), again[1], again[2])", "local _ = again"),
    Variant("P4", "a check-in is not told to Redis", "command_freed.sql", "and not a.live\n", "and false\n"),
    Variant("P7", "an undone check-in leaves nobody of the party here", "undo_check_in.sql", "and a.number <> all(%(numbers)s::int[])", "and false"),
    Variant("P7", "late attendance leaves the booking missed", "late_attendance.sql", "and exists (select from arrived)", "and false and exists (select from arrived)"),
    Variant("P7", "an excuse leaves the booking missed", "excuse_no_show.sql", "booking.state = 'NO_SHOW'", "false"),
    Variant("P7", "late attendance stumbles over who gave up", "late_attendance.sql", "        and applicant.cancelled_at is null\n", ""),
    Variant("P10", "late attendance frees the wrong person, too", "late_attendance.sql", "bar.applicant_key = arrived.applicant_key and", ""),
    Variant("P10", "late attendance leaves the bar", "late_attendance.sql", "bar.booking_id = arrived.booking_id and bar.lifted_at is null", "false"),
    Variant("P10", "an excuse leaves the bar", "excuse_no_show.sql", "bar.lifted_at is null and asked.refused is null", "false"),
    Variant("P10", "a bar is lifted in the ledger only", "settle_commands", "elseif held and not holder then", "elseif false then"),
    Variant("P10", "a bar is lifted in Redis only", "lift_bar.sql", "and not asked.lifted", "and false"),
    Variant("P10", "a day that is told again brings lifted bars back", "day_people.sql", "and bar.lifted_at is null", ""),
    Variant("P10", "a day is told while its desk lifts bars", "release", "or lane.leased_command > lane.settled_command", ""),
    Variant("P10", "a day is told as it was before its desk lifted bars", "release", "lane.settled_command ~= tonumber(ARGV[2])", "false"),
    Variant("P9", "a rebuild brings lifted bars back", "rebuild_bars.sql", "and lifted_at is null", ""),
]  # fmt: skip


NAMES = [
    Variant("P7", "an account corrects a name twice", "correct_name.sql", "and not corrected", ""),
    Variant("P7", "an account corrects a name on the day itself", "correct_name.sql", "(%(staff)s::text is not null)::int", "1"),
    Variant("P7", "staff correct a name after the day", "correct_name.sql", "        and not begun\n", ""),
    Variant("P7", "a correction overwrites one that it has not read", "correct_name.sql", "        and applicant.encrypted = %(encrypted_before)s\n", ""),
    Variant("P7", "the name of who gave up is corrected", "correct_name.sql", "        and applicant.cancelled_at is null\n", ""),
    Variant("P7", "staff's correction is not noted", "correct_name.sql", "where %(staff)s::text is not null and exists (select from written)", "where false"),
    Variant("P7", "a correction is noted that was not written", "correct_name.sql", "is not null and exists (select from written)", "is not null"),
]  # fmt: skip

_OWN = "  if own then return own end\n"
_STRANGERS = "  local early = refused_for_others(entries, kinds)\n  if early then return early end\n"
_LIMIT = "  local held = held_by(owner)\n"
_TRIED = "  if not note_tried(owner, people, window_ends, MOST_TRIED) then return { 'PEOPLE_LIMIT' } end\n"
_REFUSAL = "  local others = refused_for_others(entries, kinds)\n  if others then return others end\n"
_SLOT = "  if counters.remaining < party then return { 'SLOT_FULL', counters.remaining } end\n"
_FULL = "  if lane.ticket - lane.settled >= BOUND then return { 'LANE_FULL', 0 } end\n"

ASKING = [
    Variant("P5", "a repeat hears that its people are booked", "join", "  if known then\n", "  if known and not select(2, look_up(people, owner)) then\n"),
    Variant("P5", "a repeat hears that its window is over", "join", "  if known then\n", "  if known and in_window(windows) then\n"),
    Variant("P5", "a repeat hears that its lane is full", "join", "  if known then\n", "  local its = lane_of(office)\n  if known and its.ticket - its.settled < BOUND then\n"),
    Variant("P5", "a repeat hears that its slot is full", "join", "  if known then\n", "  local its = counters_of(lane_of(office), office, slot)\n  if known and its.remaining >= party_of(request) then\n"),
    Variant("P8", "a party hears that a slot with just enough places is full", "join", _SLOT, _SLOT.replace("<", "<=")),
    Variant("P8", "a party joins the queue of a full slot", "join", _SLOT, ""),
    Variant("P4", "a full slot before the account's own people", "join", _OWN, "  local party = party_of(request)\n" + _SLOT + _OWN),
    Variant("P4", "an account's own people are strangers to it", "join", "holding == owner", "false"),
    Variant("P4", "strangers before the account's own people", "join", _OWN, _STRANGERS + _OWN),
    Variant("P4", "the account's limit before its own people", "join", _OWN, "  if live_of(held_by(owner)) + party_of(request) > MOST then return { 'ACCOUNT_LIMIT', 0 } end\n" + _OWN),
    Variant("P4", "strangers before the account's limit", "join", _LIMIT, _STRANGERS + _LIMIT),
    Variant("P4", "a full lane before the account's limit", "join", _LIMIT, _FULL + _LIMIT),
    Variant("P4", "strangers before a full lane", "join", "  if waiting >= BOUND", _STRANGERS + "  if waiting >= BOUND"),
    Variant("P4", "a stranger's booking is told by its id", "join", "{ 'ALREADY_BOOKED', n - 1, '' }", "{ 'ALREADY_BOOKED', n - 1, holder }"),
    Variant("P12", "an account asks for as many people as it likes", "join", "  if #after > 4 * most then return false end\n", ""),
    Variant("P12", "who is booked is not counted", "join", _TRIED + _REFUSAL, _REFUSAL + _TRIED),
    Variant("P12", "who is free is not counted", "join", _TRIED + _REFUSAL, _REFUSAL.replace("if others", "if others and note_tried(owner, people, window_ends, MOST_TRIED)")),
    Variant("P12", "who was asked for is counted again", "join", "if not known[person] then", "if true then"),
]  # fmt: skip

VERIFIED = [
    Variant("P4", "any booking gives way to a verified request", "join", "if holder and not verified and", "if holder and"),
    Variant("P4", "a booking gives way to any request", "join", "not verified and kinds:sub(n, n) == 'V' then", "not verified then"),
    Variant("P4", "only the first person of a party is looked at", "join", "kinds:sub(n, n) == 'V'", "kinds:sub(1, 1) == 'V'"),
    Variant("P4", "a booking gives way to a party that is refused", "join", "return { 'ALREADY_BOOKED', n - 1, '' }", "return #unverified > 1 and unverified or { 'ALREADY_BOOKED', n - 1, '' }"),
    Variant("P4", "a verified person is not held as verified", "join", "kinds:sub(n, n) .. id .. owner", "'B' .. id .. owner"),
    Variant("P4", "a command reclaims a verified person", "cancel.sql", "        and not (%(reclaimed)s and applicant.verified)\n", ""),
    Variant("P4", "the ledger does not learn who is verified", "record.sql", "a.encrypted, a.verified\n", "a.encrypted, false\n"),
    Variant("P4", "an undone check-in forgets who is verified", "claim", "kinds:sub(n, n) .. id", "'B' .. id"),
    Variant("P4", "a party is read without who is verified", "party.sql", "a.present_at, a.verified", "a.present_at, false"),
    Variant("P9", "a rebuild forgets who is verified", "restore", "people:sub(n + 16, n + 16)", "'B'"),
    Variant("P9", "a rebuild is not told who is verified", "rebuild_bookings.sql", "when verified then 'V'", "when verified then 'B'"),
    Variant("P10", "who was reclaimed is not told why", "cancel.sql", "when %(reclaimed)s then 'RECLAIMED'", "when false then 'RECLAIMED'"),
    Variant("P10", "a reclaim is audited as staff's", "cancel.sql", "case when %(reclaimed)s then 'RECLAIM' when", "case when"),
]  # fmt: skip

_COUNT = "  local limited = count_request(askers, LIMITS)\n  if limited then return limited end\n"

LIMITS = [
    Variant("P12", "a burst has no end", "join", "      if wait > 0 then return { REASONS[asker:sub(1, 1)], wait } end\n", ""),
    Variant("P12", "nothing is counted", "join", "      lasts[asker] = at + limit.every\n", ""),
    Variant("P12", "a pause saves more than a burst", "join", "math.max(now, tonumber(", "math.max(0, tonumber("),
    Variant("P12", "a burst is one request longer", "join", "local wait = at - now - limit.ahead", "local wait = at - now - limit.ahead - limit.every"),
    Variant("P12", "a refusal by one limit counts against the others", "join", _COUNT, "  count_request(askers:sub(19), LIMITS)\n" + _COUNT),
    Variant("P5", "a repeat is refused by a limit", "join", "  if known then\n", "  local early = count_request(askers, LIMITS)\n  if early then return early end\n  if known then\n"),
]  # fmt: skip

Story = Callable[[World], Awaitable[set[str]]]
STORIES: list[tuple[Story, list[Variant]]] = [
    (broken_promises_of_a_life, VARIANTS),
    (broken_promises_of_the_ways_back, WAYS_BACK),
    (broken_promises_of_names, NAMES),
    (broken_promises_of_asking, ASKING),
    (broken_promises_of_verified_people, VERIFIED),
    (broken_promises_of_limits, LIMITS),
]
_TOLD = [(story, variant) for story, variants in STORIES for variant in variants]


@pytest.mark.parametrize("story", [story for story, _ in STORIES], ids=lambda story: story.__name__)
async def test_the_promises_hold_in_the_story(world: World, story: Story) -> None:
    assert await story(world) == set()


async def test_a_variant_that_allows_any_new_name_is_caught(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antrian.rules.edits", lambda *_: 0)
    assert "P7" in await broken_promises_of_names(world)


@pytest.mark.parametrize(
    ("story", "variant"), _TOLD, ids=[f"{variant.promise}: {variant.name}" for _, variant in _TOLD]
)
async def test_each_broken_variant_breaks_the_promise_it_is_listed_for(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, story: Story, variant: Variant
) -> None:
    def changed(text: str) -> str:
        assert text.count(variant.old) == 1, "the variant no longer fits"
        return text.replace(variant.old, variant.new)

    def script(name: str) -> str:
        return changed(lane.script(name)) if name == variant.file else lane.script(name)

    def sql(name: str) -> str:
        return changed(ledger.sql(name)) if f"{name}.sql" == variant.file else ledger.sql(name)

    for module in ("consumer", "producer", "rebuild"):
        monkeypatch.setattr(f"antrian.lane.{module}.script", script)
    for module in ("recorder", "turns", "commands", "days", "staff", "keys", "policies"):
        monkeypatch.setattr(f"antrian.ledger.{module}.sql", sql)
    async with World(redis_url, database_url) as world:
        assert variant.promise in await story(world)
