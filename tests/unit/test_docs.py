"""What the docs and decisions name exists: paths, commands, settings, metrics, names in the code, and log messages."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from antrian.settings import Settings
from clients.cli.main import main
from clients.gateway.settings import GatewaySettings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FOLDERS = ("antrian", "clients", "server", "workers", "tests", "protos", "docs", "examples")
PROGRAMS = ("antrian", "clients", "server", "workers")
TOP = ("pyproject.toml", "docker-compose.yml", "Dockerfile", "Makefile", "buf.yaml", "requirements.lock")
CODE = {".py", ".pyi", ".lua", ".sql", ".proto", ".toml", ".yml", ".yaml"}

HISTORY = {
    "2026-11-28-contract-before-0.1.0.md": {"places_left", "present_numbers", "_time"},
    "2026-11-26-as-fast-as-the-parts.md": {"take.lua"},
    "2026-11-25-rush.md": {"shared/measured.md"},
}
"""What a decision names although it does not exist any more, or never was in the repository."""

MADE = {
    "callers.toml", "docker-compose.override.yml", "policy.toml", "tls.crt", "tls.key", "run.json", "secrets.json",
    "heads.jsonl", "signing.pem", "signing.pub",
    "bench.json", "bench.html", "offices.csv", "antrian/lane/scripts/NAME.lua", "antrian/ledger/queries/NAME.sql",
    "antrian/ledger/migrations/NNNN_name.sql",
}  # fmt: skip
"""Files that people or programs make, so that they are not in the repository."""

FOREIGN = {
    "grpc.service_config", "grpc.max_connections_per_subchannel_cap", "google.rpc.Status", "google.type.Date",
    "google.api.http", "vm.overcommit_memory", "rq.worker", "GLIBC_TUNABLES", "glibc.malloc.hugetlb", "GRPC_VERBOSITY",
    "LimitNOFILE",
}  # fmt: skip
"""Names of other projects."""

_SPAN = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*/?")
_EXTENSION = re.compile(r"\.(py|lua|sql|toml|proto|md|yml|yaml|csv|sh|mjs)$")
_LOGGED = re.compile(r'\b_log\.\w+\(\s*((?:"[^"]*"\s*)+)')
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?")


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def files() -> frozenset[str]:
    found = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if "__pycache__" not in path.parts and "node_modules" not in path.parts
    }
    return frozenset(found | set(TOP) | set(FOLDERS) | {page_name(page) for page in PAGES})


@cache
def endings() -> frozenset[str]:
    """All that may stand for a file: its path, or the end of it."""
    return frozenset(ending for file in files() for ending in [file, *(file[n + 1 :] for n in slashes(file))])


def slashes(file: str) -> list[int]:
    return [match.start() for match in re.finditer("/", file)]


@cache
def words_of_the_code() -> frozenset[str]:
    this = str(Path(__file__).relative_to(ROOT))
    texts = [(ROOT / name).read_text() for name in files() if Path(name).suffix in CODE and name != this]
    return frozenset(re.findall(r"[A-Za-z_]\w*", "\n".join(texts)))


def spans(page: Path) -> Iterator[str]:
    """What stands in backticks, outside of code blocks."""
    yield from (match[1] for match in _SPAN.finditer(_FENCED.sub("", page.read_text())))


def allowed(page: Path) -> set[str]:
    return HISTORY.get(page.name, set()) | MADE | FOREIGN


def is_path(span: str) -> bool:
    if not _PATH.fullmatch(span):
        return False
    return bool(_EXTENSION.search(span[1:])) or span.startswith(tuple(f"{folder}/" for folder in FOLDERS))


def missing_paths(page: Path) -> list[str]:
    """Paths from the root, or the end of one: `join.lua`, `migrations/0001_ledger.sql`."""
    missing = []
    for span in filter(is_path, spans(page)):
        path = span.rstrip("/")
        if path not in endings() and "*" not in path and span not in allowed(page):
            missing.append(span)
    return missing


def snake_case(name: str) -> str:
    """A field as the protos spell it, not JSON: officeId is office_id."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def missing_names(page: Path) -> list[str]:
    """Names with a dot, an underscore, brackets or a capital inside: what no sentence has by itself."""
    missing = []
    for span in spans(page):
        looks_like_code = re.search(r"[._(]|[a-z][A-Z]", span)
        if not _NAME.fullmatch(span) or not looks_like_code or is_path(span) or span in allowed(page):
            continue
        if span.startswith(("ANTRIAN_", "antrian_")):
            continue
        parts = span.removesuffix("()").split(".")
        known = all({part, snake_case(part)} & words_of_the_code() for part in parts)
        if not known and span not in endings():
            missing.append(span)
    return missing


def missing_commands(page: Path) -> list[str]:
    """Of `antrian` and of make, in sentences and in code blocks."""
    text = page.read_text()
    quoted = [*spans(page), *re.findall(r"^(?: {4,}|.*\| )?(\S*antrian .*)$", text, re.MULTILINE)]
    missing = []
    for line in quoted:
        for match in re.finditer(r"(?:^|[ /(])antrian (?!password)([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", line):
            command = main.commands.get(match[1])
            unknown = command is None and line in set(spans(page))
            if unknown or (isinstance(command, click.Group) and match[2] and match[2] not in command.commands):
                missing.append(match[0].strip())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = [(span, found[1]) for span in spans(page) if (found := re.match(r"make ([a-z]+)", span))]
    return missing + [span for span, target in made if target not in targets]


def settings() -> set[str]:
    own = {f"ANTRIAN_{name.upper()}" for name in Settings.model_fields}
    of_gateways = {f"ANTRIAN_GATEWAY_{name.upper()}" for name in GatewaySettings.model_fields}
    return own | of_gateways | {"ANTRIAN_SECRETS_DIR", "ANTRIAN_TOKEN", "ANTRIAN_CA"}


def missing_settings(page: Path) -> list[str]:
    return [name for name in re.findall(r"\bANTRIAN_[A-Z_]*[A-Z]\b", page.read_text()) if name not in settings()]


def missing_metrics(page: Path) -> list[str]:
    """Names that begin with antrian_ and are no metric, no file of a setting, no database role, nothing of docker-compose.yml."""
    sources = ("server/metrics.py", "workers/metrics.py", "clients/gateway/metrics.py", "antrian/lane/producer.py")
    metrics = {name for file in sources for name in re.findall(r'"(antrian_\w+)"', (ROOT / file).read_text())}
    roles = set(re.findall(r"'(antrian_\w+)'", (ROOT / "antrian/ledger/roles.sql").read_text()))
    known = metrics | roles | {name.lower() for name in settings()}
    compose = (ROOT / "docker-compose.yml").read_text()
    return [
        name
        for name in re.findall(r"\bantrian_[a-z_]*[a-z]\b", page.read_text())
        if name.removesuffix("_total") not in known and name.removeprefix("antrian_") not in compose
    ]


def missing_links(page: Path) -> list[str]:
    """Links to pages that are not there, or to a heading that a page does not have. Pictures may come later."""
    missing = []
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", _FENCED.sub("", page.read_text())):
        target, _, heading = link.partition("#")
        if "://" in link:
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (heading and heading not in headings(file)):
            missing.append(link)
    return missing


def headings(file: Path) -> set[str]:
    """As GitHub names them."""
    lines = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in lines}


CHECKS = {
    "paths": missing_paths,
    "names": missing_names,
    "commands": missing_commands,
    "settings": missing_settings,
    "metrics": missing_metrics,
    "links": missing_links,
}


@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_what_a_page_names_exists(page: Path, what: str) -> None:
    assert not CHECKS[what](page)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("paths", "`workers/gone.py`"),
        ("paths", "`gone.lua`"),
        ("names", "`Keys.gone_method`"),
        ("names", "`gone_function()`"),
        ("commands", "`antrian gone`"),
        ("commands", "`antrian office gone`"),
        ("commands", "`make gone`"),
        ("settings", "ANTRIAN_GONE"),
        ("metrics", "`antrian_gone_total`"),
        ("links", "[gone](gone.md)"),
        ("links", "[gone](#gone)"),
    ],
)
def test_a_name_that_does_not_exist_is_noticed(tmp_path: Path, what: str, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"A sentence with {text} in it.\n")
    assert CHECKS[what](page)


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in HISTORY.items() for name in sorted(names)])
def test_history_lists_only_what_a_decision_names(page: str, name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/decisions" / page).read_text()


@cache
def logged() -> frozenset[str]:
    """The messages that our code logs, as they are formatted."""
    code = [name for name in files() if name.endswith(".py") and name.split("/")[0] in PROGRAMS]
    calls = [call for name in code for call in _LOGGED.findall((ROOT / name).read_text())]
    return frozenset("".join(re.findall(r'"([^"]*)"', call)) for call in calls)


def is_logged(quoted: str, messages: frozenset[str]) -> bool:
    """Whether a message reads like this. The quotation has … for what varies or is left out, and capitals for one word."""
    pattern = ".*".join(map(re.escape, re.split(r"…|\b[A-Z]{2,}\b", quoted)))
    for message in messages:
        parts = re.split(r"%[-.\d]*[sdfg]", message)
        if re.fullmatch(pattern, "…".join(parts)) or re.fullmatch(".+".join(map(re.escape, parts)), quoted):
            return True
    return False


LOG_LINES = re.findall(
    r"^\| (?:INFO|WARNING|ERROR|CRITICAL) \| `([^`]+)`", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("line", [line for line in LOG_LINES if not line.startswith("rq.worker")])
def test_the_runbook_quotes_log_lines_that_exist(line: str) -> None:
    assert is_logged(line, logged())


def test_a_log_line_that_nobody_writes_is_noticed() -> None:
    assert len(LOG_LINES) > 20
    assert not is_logged("a store is gone: …", logged())
    assert not is_logged("worker … retired", logged())
