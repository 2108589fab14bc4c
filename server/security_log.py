"""The security log: one line of JSON for each denial, with its caller and its reason, and a bound on lines of one kind."""

import logging

from antrian.errors import AntrianError, Reason
from server.address import address_prefix
from server.caller import CALLER
from server.denied import DeniedError
from server.metrics import count_denial

UNKNOWN = "unknown"
"""The caller of a call whose token identifies nobody."""

_DENIALS = {
    Reason.UNAUTHENTICATED,
    Reason.TOKEN_EXPIRED,
    Reason.TOO_MANY_ATTEMPTS,
    Reason.PERMISSION_DENIED,
    Reason.RATE_LIMITED,
    Reason.CALLER_BUSY,
}
_log = logging.getLogger("antrian.security")


def log_denial(error: AntrianError, rpc: str) -> None:
    """Counts and logs the error if it is a denial of the current call. Neither the token nor the request is logged."""
    if error.reason not in _DENIALS:
        return
    known = CALLER.get(None)
    caller = known.name if known else UNKNOWN
    count_denial(caller, error.reason)
    _log.warning(
        # Each caller and reason is a kind of line of its own, so that a flood of one does not hide the others.
        f"{error.reason} for {caller}: %s",
        error.why if isinstance(error, DeniedError) else "too much at once",
        extra={"caller": caller, "reason": error.reason.value, "rpc": rpc, "address": address_prefix()},
    )
