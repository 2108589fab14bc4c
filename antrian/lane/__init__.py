"""The lanes in Redis, one script a step: LaneProducer is the server's side (async), LaneConsumer the workers' (sync).

scripts/prelude.lua names every key. Each script runs together with it and with lane.lua.
"""

import re
from importlib.resources import files

from redis.exceptions import TimeoutError as RedisTimeoutError

READY = "ready"
"""The sorted set of lanes that wait for a consumer."""

SETTLED = "settled"
"""The channel on which settle.lua publishes "office last-ticket" of each lane, settle_commands.lua "commands:office number"."""

REPLICATED_WITHIN_MS = 300
"""How long a script waits for its replicas, in milliseconds."""

BARRIER = "barrier"
"""The channel of a message before each WAIT: replicas receive it, nobody else does, and no data change.

Valkey's WAIT returns at once on a connection that has written nothing. With a message, it shows that this Redis still has its
replicas, also after a script that only read: a former primary that is cut off answers nothing then.
"""

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


class NotReplicatedError(RedisTimeoutError):
    """Too few replicas have confirmed a write: it may be lost or not, and what depends on it must not be done."""

    def __init__(self, needed: int, confirmed: int) -> None:
        super().__init__(
            f"{confirmed} of the {needed} replicas that are needed confirmed within {REPLICATED_WITHIN_MS} ms"
        )


def script(name: str) -> str:
    """Returns the source of a step as Redis runs it: the shebang, prelude.lua, lane.lua, its includes, and itself."""
    shebang, body = _read(name).split("\n", 1)
    return "\n".join([shebang, *map(_read, ["prelude", "lane", *_INCLUDE.findall(body)]), body])


def _read(name: str) -> str:
    return (files(__package__) / "scripts" / f"{name}.lua").read_text()
