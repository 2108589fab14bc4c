"""How fast the rush's time passes: as in life at first, then ever faster."""

import math


def second_of(real: float, real_seconds: float, compression: float) -> float:
    """When what happens so many seconds after the opening is played, in seconds after it.

    After real_seconds time passes twice as fast as in life, after twice as many three times, and so on up to compression:
    ds/dr = 1 / (1 + r / real_seconds), at least 1 / compression. So no rate jumps where hours begin to be minutes.
    """
    bend = real_seconds * (compression - 1)
    if real <= bend:
        return real_seconds * math.log1p(real / real_seconds) if real > 0 else real
    return real_seconds * math.log(compression) + (real - bend) / compression


def real_of(second: float, real_seconds: float, compression: float) -> float:
    """The other way round: how many seconds after the opening it happens in life."""
    bend = real_seconds * math.log(compression)
    if second <= bend:
        return real_seconds * math.expm1(second / real_seconds) if second > 0 else second
    return real_seconds * (compression - 1) + (second - bend) * compression
