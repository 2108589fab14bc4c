"""Makes mutants: copies of a script or statement with one small fault. Only text is looked at; comments are left alone."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ANTRIAN = Path(__file__).parents[2] / "antrian"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: `file` (below antrian/) with `text` instead of its own. old and new are the lines that differ."""

    file: str
    line: int
    operator: str
    old: str
    new: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.operator}: {self.old}  ->  {self.new or '(nothing)'}"


class Edit(NamedTuple):
    """Replaces text[start:end]."""

    operator: str
    start: int
    end: int
    by: str


_SWAPS = {
    "lua": [
        ("flip", r"<(?!=)", "<="), ("flip", r"<=", "<"), ("flip", r">(?!=)", ">="), ("flip", r">=", ">"),
        ("flip", r"==", "~="), ("flip", r"~=", "=="), ("flip", r"\band\b", "or"), ("flip", r"\bor\b", "and"),
        ("flip", r"\bnot ", ""), ("flip", r"\btrue\b", "false"), ("flip", r"\bfalse\b", "true"),
        ("arithmetic", r"(?<= )\+(?= )", "-"), ("arithmetic", r"(?<= )-(?= )", "+"),
        ("arithmetic", r"(?<= )\*(?= )", "/"), ("arithmetic", r"(?<= )/(?= )", "*"),
        ("ends", r"\bmath\.min\b", "math.max"), ("ends", r"\b0, 0\)", "-1, -1)"),
    ],
    "sql": [
        ("flip", r"(?<![<>])<(?![<>=])", "<="), ("flip", r"<=", "<"), ("flip", r"(?<![<>])>(?![>=])", ">="),
        ("flip", r">=", ">"), ("flip", r"(?<![<>])=(?!>)", "<>"), ("flip", r"<>", "="), ("flip", r"\bor\b", "and"),
        ("flip", r"\bnot (?=exists|in\b|live|told|a\.live)", ""), ("flip", r"\bis null\b", "is not null"),
        ("flip", r"\bis not null\b", "is null"), ("flip", r"\btrue\b", "false"), ("flip", r"\bfalse\b", "true"),
        ("arithmetic", r"(?<= )\+(?= )", "-"), ("arithmetic", r"(?<= )-(?= )", "+"),
        ("ends", r" desc\b", ""), ("ends", r"\bgreatest\b", "least"), ("ends", r"\bmax\(", "min("),
        ("delete", r"\bon conflict .*?do nothing", ""), ("delete", r"\blimit \S+", ""), ("delete", r"\bfor update\b.*", ""),
    ],
}  # fmt: skip
"""Operator, what is looked for outside strings and comments, what stands there instead."""

_WORDS = [("ends", "'LPUSH'", "'RPUSH'"), ("ends", "'RPUSH'", "'LPUSH'"), ("constraint", "'NX', ", ""), ("constraint", "'HSETNX'", "'HSET'")]  # fmt: skip
"""The same, inside the strings of a script."""

_CLAUSE_ENDS = (
    r"group by|order by|returning|limit|for update|on conflict|from|join|left join|cross join|where|set|values|union|select|"
    r"then|end|else|when"
)
_TOKEN = re.compile(rf"[()]|\b(?:{_CLAUSE_ENDS}|between|and|or)\b|,|$")


def all_mutants() -> list[Mutant]:
    """Of every script and statement, and of the schema's constraints; in a fixed order."""
    files = [
        *ANTRIAN.glob("lane/scripts/*.lua"),
        *ANTRIAN.glob("ledger/queries/*.sql"),
        *ANTRIAN.glob("ledger/migrations/*.sql"),
    ]
    # What a history is read with belongs to the checks; tampered histories test it.
    files = [path for path in files if not path.name.startswith("history_")]
    return [m for path in sorted(files) for m in mutants_of(str(path.relative_to(ANTRIAN)), path.read_text())]


def mutants_of(file: str, text: str) -> list[Mutant]:
    """The mutants of one file, from its top to its end, none twice."""
    edits = _edits_of(file)
    found: dict[str, Mutant] = {}
    for edit in sorted(edits(text, _masked(text, file)), key=lambda edit: edit.start):
        changed = text[: edit.start] + edit.by + text[edit.end :]
        first = text.rfind("\n", 0, edit.start) + 1
        last = len(text) if (end := text.find("\n", max(edit.start, edit.end - 1))) < 0 else end
        old, new = text[first:last], text[first : edit.start] + edit.by + text[edit.end : last]
        line = text.count("\n", 0, first) + 1
        if _flat(old) != _flat(new):
            found.setdefault(changed, Mutant(file, line, edit.operator, _flat(old), _flat(new), changed))
    return list(found.values())


def _edits_of(file: str) -> Callable[[str, str], Iterator[Edit]]:
    if file.endswith(".lua"):
        return _script_edits
    return _schema_edits if "migrations" in file else _statement_edits


def _flat(text: str) -> str:
    return " ".join(text.split())


def _masked(text: str, file: str) -> str:
    """The same length, but with blanks for comments and for what strings hold."""

    def blank(match: re.Match[str]) -> str:
        if match[0].startswith("--"):
            return " " * len(match[0])
        return match[0][0] + "_" * (len(match[0]) - 2) + match[0][-1]

    parts = r"--[^\n]*|'(?:\\.|[^'\\\n])*'" if file.endswith(".lua") else r"--[^\n]*|'[^']*'"
    return re.sub(parts, blank, text)


def _swaps(kind: str, masked: str) -> Iterator[Edit]:
    for operator, pattern, by in _SWAPS[kind]:
        for match in re.finditer(pattern, masked, re.MULTILINE):
            if not (by == "<>" and _assigns(masked, match.start())):
                yield Edit(operator, match.start(), match.end(), by)


def _assigns(masked: str, at: int) -> bool:
    """Whether this = is one of a `set`, which compares nothing."""
    words = re.findall(r"\b(?:set|where|from|on|when|select|and)\b", masked[:at])
    return bool(words) and words[-1] == "set"


def _closing(masked: str, opening: int) -> int:
    """Where the parenthesis that opens there is closed again."""
    depth = 0
    for at in range(opening, len(masked)):
        depth += {"(": 1, ")": -1}.get(masked[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"nothing closes the parenthesis at {opening}")


def _script_edits(text: str, masked: str) -> Iterator[Edit]:
    yield from _swaps("lua", masked)
    for operator, word, by in _WORDS:
        for match in re.finditer(re.escape(word), text):
            if masked[match.start()] == "'":
                yield Edit(operator, match.start(), match.end(), by)
    # A call that is a statement of its own, whole lines or between words.
    for match in re.finditer(r"(?:^|\b(?:then|do|else)\b)[ \t]*(?!function\b)([\w.]+)\(", masked, re.MULTILINE):
        end = _closing(masked, match.end() - 1) + 1
        if re.match(r"[ \t]*(?:$|\n|end\b|else\b|elseif\b)", masked[end:]):
            yield Edit("delete", match.start(1), end, "")
    # A guard: "if ... then return ... end" on one line.
    for match in re.finditer(r"^[ \t]*(if .* then return\b.* end)[ \t]*$", masked, re.MULTILINE):
        yield Edit("delete", match.start(1), match.end(1), "")


def _statement_edits(text: str, masked: str) -> Iterator[Edit]:
    yield from _swaps("sql", masked)
    for match in re.finditer(r"\b(where|and|or|on(?! conflict)|when)\b", masked):
        end = _condition_end(masked, match.end())
        before = re.findall(r"\b(?:between|where|and|or|on|when)\b", masked[: match.start()])
        if end and not (match[1] == "and" and before[-1:] == ["between"]):
            by = "false" if match[1] in {"or", "when"} else "true"
            yield Edit("condition", match.end(), end, f" {by}")
    for match in re.finditer(r"\border by ([^()\n]+?)(?=\)|$)", masked, re.MULTILINE):
        at = match.start(1)
        for key in match[1].split(","):
            if not key.rstrip().endswith(" desc"):
                yield Edit("ends", at + len(key.rstrip()), at + len(key.rstrip()), " desc")
            at += len(key) + 1
    for match in re.finditer(
        r"^[ ]*(?:update|insert into|delete from)\b|\(\s*(?:update|insert into)\b", masked, re.MULTILINE
    ):
        yield _without_effect(masked, match.end())


def _tokens(masked: str, start: int) -> Iterator[tuple[str, int]]:
    """Words that end a clause, at the depth of `start`, and the parenthesis or the end that closes it."""
    depth = 0
    for token in _TOKEN.finditer(masked, start):
        if token[0] == ")" and depth == 0:
            yield ")", token.start()
            return
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0 and token[0] not in {"", ")"}:
            yield token[0], token.start()
    yield "", len(masked.rstrip())


def _condition_end(masked: str, start: int) -> int:
    """Where the condition that begins there ends, the blanks behind it left out; 0 when it is none."""
    between = False
    for token, at in _tokens(masked, start):
        if token == "between":
            between = True
        elif token == "and" and between:
            between = False
        else:
            condition = masked[start:at].rstrip()
            return start + len(condition) if condition else 0
    return 0


def _without_effect(masked: str, start: int) -> Edit:
    """Has an update or insert change no row."""
    for token, at in _tokens(masked, start):
        if token == "where":
            return Edit("delete", at, at + len("where"), "where false and")
        if token in {"", ")", "group by", "order by", "returning", "on conflict"}:
            return Edit("delete", at, at, " where false ")
    raise ValueError("a statement without an end")


def _schema_edits(text: str, masked: str) -> Iterator[Edit]:
    for match in re.finditer(r",?[ ]*\n[ ]+constraint \w+ [^\n]*?(?=,? *\n)", masked):
        # A constraint with its line, and with the comma that parts it from its neighbour.
        start = match.start() if masked[match.start()] == "," else match.start() + 1
        yield Edit("constraint", start, match.end(), "")
    for match in re.finditer(r"^alter table \w+ add constraint[^;]*;|^create trigger[^;]*;", masked, re.MULTILINE):
        yield Edit("constraint", match.start(), match.end(), "")
    for match in re.finditer(r"^create (unique) index", masked, re.MULTILINE):
        yield Edit("constraint", match.start(1), match.end(1), "")
    for match in re.finditer(r"^[ ]+(?!constraint)\w+ .*?( check \()", masked, re.MULTILINE):
        yield Edit("constraint", match.start(1), _closing(masked, match.end(1) - 1) + 1, "")
    for match in re.finditer(r"^[ ]+\w+ [^\n]*?( unique| primary key| references \w+)\b", masked, re.MULTILINE):
        if "constraint" not in match[0]:
            yield Edit("constraint", match.start(1), match.end(1), "")
