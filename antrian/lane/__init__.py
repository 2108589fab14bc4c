"""The lanes in Redis, one script a step: LaneProducer is the server's side (async), LaneConsumer the workers' (sync).

scripts/prelude.lua names every key; each script is read together with it.
"""

import re
from importlib.resources import files

READY = "ready"
"""The sorted set of lanes that wait for a consumer."""

SETTLED = "settled"
"""The channel on which settle.lua publishes "office last-ticket" of each lane, settle_commands.lua "commands:office number"."""

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


def script(name: str) -> str:
    """Returns the source of a step as Redis runs it: the shebang, prelude.lua, the files that it includes, and itself."""
    shebang, body = _read(name).split("\n", 1)
    return "\n".join([shebang, *map(_read, ["prelude", *_INCLUDE.findall(body)]), body])


def _read(name: str) -> str:
    return (files(__package__) / "scripts" / f"{name}.lua").read_text()
