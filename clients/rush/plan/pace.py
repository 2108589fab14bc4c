"""The time of a rush: real time at first, then faster and faster."""

import math


def second_of(real: float, real_seconds: float, compression: float) -> float:
    """Converts real seconds after the opening to seconds of the play.

    After real_seconds time passes twice as fast as in reality, after twice as many three times, and so on up to compression:
    ds/dr = 1 / (1 + r / real_seconds), at least 1 / compression. This way no rate jumps.
    """
    bend = real_seconds * (compression - 1)
    if real <= bend:
        return real_seconds * math.log1p(real / real_seconds) if real > 0 else real
    return real_seconds * math.log(compression) + (real - bend) / compression


def real_of(second: float, real_seconds: float, compression: float) -> float:
    """Converts seconds of the play after the opening to real seconds: the inverse of second_of."""
    bend = real_seconds * math.log(compression)
    if second <= bend:
        return real_seconds * math.expm1(second / real_seconds) if second > 0 else second
    return real_seconds * (compression - 1) + (second - bend) * compression
