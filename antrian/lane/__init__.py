"""THE LINE (Redis): one script a step. LaneFront is the server's side (async), LaneDrainer the workers' (sync).

scripts/prelude.lua names every key and is put before every script.
"""

from importlib.resources import files

READY = "ready"
"""The sorted set of lanes that wait for a drainer."""

SETTLED = "settled"
"""The channel on which settle.lua says "office last-ticket" of each lane, settle_commands.lua "desk:office number"."""


def script(name: str) -> str:
    """Returns the text of a step: `script("join")` is scripts/prelude.lua, then scripts/join.lua."""
    scripts = files(__package__) / "scripts"
    shebang, body = (scripts / f"{name}.lua").read_text().split("\n", 1)
    return f"{shebang}\n{(scripts / 'prelude.lua').read_text()}{body}"
