"""The mutator makes the faults that it says, on small texts, and none in comments or strings."""

import pytest

from tests.mutants.__main__ import gone
from tests.mutants.mutator import ANTRIAN, all_mutants, mutants_of

SCRIPT = """#!lua
-- a < b and redis.call('DEL', x)
if fenced(office, token) then return { 'FENCED' } end
if left < party then redis.call('RPUSH', key('outbox', office), '1 - 1') end
redis.call('HSET', key('lane', office),
  'ticket', ticket + 1)
"""

STATEMENT = """-- where a = b
with gone as (
    update applicant set live = false from slot where slot.day between 1 and 2 and (a or b)
)

select max(number) from slot where taken < quota order by day desc, number
"""

SCHEMA = """create table slot (
    id bigint primary key, -- P1
    taken int check (taken >= 0 and (taken < 9)),
    constraint once unique (day, session), -- P2
    constraint within check (taken <= quota)
);
create unique index one on slot (day);
create trigger forward before update on slot
    for each row execute function forward();
"""


def faults(file: str, text: str) -> set[tuple[str, str]]:
    """Which operator made which new line."""
    return {(mutant.operator, mutant.new) for mutant in mutants_of(file, text)}


def test_scripts_are_mutated() -> None:
    call = "redis.call('RPUSH', key('outbox', office), '1 - 1')"
    assert faults("lane/scripts/x.lua", SCRIPT) == {
        ("delete", ""),
        ("flip", f"if left <= party then {call} end"),
        ("delete", "if left < party then end"),
        ("ends", f"if left < party then {call.replace('RPUSH', 'LPUSH')} end"),
        ("arithmetic", "'ticket', ticket - 1)"),
    }
    assert [m.old for m in mutants_of("lane/scripts/x.lua", SCRIPT) if not m.new] == [
        "if fenced(office, token) then return { 'FENCED' } end",
        "redis.call('HSET', key('lane', office), 'ticket', ticket + 1)",
    ]


def test_statements_are_mutated() -> None:
    update = "update applicant set live = false from slot where"
    rest = "select max(number) from slot where taken < quota order by day desc, number"
    assert faults("ledger/queries/x.sql", STATEMENT) == {
        ("delete", f"{update} false and slot.day between 1 and 2 and (a or b)"),
        ("flip", f"{update.replace('false', 'true')} slot.day between 1 and 2 and (a or b)"),
        ("condition", f"{update} true and (a or b)"),
        ("condition", f"{update} slot.day between 1 and 2 and true"),
        ("condition", f"{update} slot.day between 1 and 2 and (a or false)"),
        ("flip", f"{update} slot.day between 1 and 2 and (a and b)"),
        ("ends", rest.replace("max", "min")),
        ("flip", rest.replace("<", "<=")),
        ("condition", rest.replace("taken < quota", "true")),
        ("ends", rest.replace(" desc", "")),
        ("ends", f"{rest} desc"),
    }


def test_constraints_are_mutated() -> None:
    assert faults("ledger/migrations/x.sql", SCHEMA) == {
        ("constraint", "id bigint, -- P1"),
        ("constraint", "taken int,"),
        ("constraint", "taken int check (taken >= 0 and (taken < 9)), -- P2"),
        ("constraint", "constraint once unique (day, session)"),
        ("constraint", "create index one on slot (day);"),
        ("constraint", ""),
    }


def test_every_script_and_migration_has_distinct_mutants() -> None:
    mutants = all_mutants()
    files = {mutant.file for mutant in mutants}
    assert {str(path.relative_to(ANTRIAN)) for path in ANTRIAN.glob("lane/scripts/*.lua")} <= files
    assert len({(mutant.file, mutant.text) for mutant in mutants}) == len(mutants)
    assert len(mutants) > 500


def test_each_mutant_that_may_survive_is_still_made() -> None:
    assert gone(all_mutants()) == []


@pytest.mark.parametrize("text", ["-- nothing but words: a < b", "select 'a < b and c'"])
def test_comments_and_strings_are_not_mutated(text: str) -> None:
    assert mutants_of("ledger/queries/x.sql", text) == []
