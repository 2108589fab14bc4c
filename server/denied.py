"""The exception for calls that are refused because of who makes them."""

from datetime import timedelta

from antrian.errors import AntrianError, Reason


class DeniedError(AntrianError):
    """A call that its caller may not make. why: for the security log; the caller does not learn it."""

    def __init__(self, reason: Reason, why: str, *, field: str = "", retry_after: timedelta | None = None) -> None:
        super().__init__(reason, field=field, retry_after=retry_after)
        self.why = why
