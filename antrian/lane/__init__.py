"""THE LINE (Redis): one script a step. LaneFront is the server's side (async), LaneDrainer the workers' (sync).

keys.lua names every key; the scripts are read together with it.
"""

from importlib.resources import files

READY = "ready"
"""The sorted set of lanes that wait for a drainer."""

SETTLED = "settled"
"""The channel on which settle.lua says "office last-ticket" of each lane, settle_desk.lua "desk:office number"."""


def script(name: str) -> str:
    """The text of a step: `script("join")` is keys.lua and lane/join.lua, whose head comment explains it."""
    shebang, body = (files(__package__) / f"{name}.lua").read_text().split("\n", 1)
    return f"{shebang}\n{(files(__package__) / 'keys.lua').read_text()}{body}"
