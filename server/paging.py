"""Page tokens: where the next page begins, in a form that callers pass back as it is."""

import base64
import binascii

from antrian.errors import invalid


def page_size(asked: int, default: int, largest: int) -> int:
    """How many to answer: the default for 0, at most the largest (AIP-158). Raises INVALID_FIELD when it is negative."""
    if asked < 0:
        raise invalid("page_size", "tidak boleh negatif", "must not be negative")
    return min(asked or default, largest)


def write_token(*where: str) -> str:
    """The token of a page that begins after there."""
    return base64.urlsafe_b64encode(" ".join(where).encode()).decode()


def read_token(token: str, parts: int) -> list[str] | None:
    """What write_token was given; None for the first page. Raises INVALID_FIELD for what is no token."""
    if not token:
        return None
    try:
        where = base64.urlsafe_b64decode(token.encode()).decode("ascii").split(" ")
    except (ValueError, binascii.Error):
        where = []
    if len(where) != parts:
        raise not_a_token()
    return where


def not_a_token() -> Exception:
    """The refusal of a page token that this rpc did not write."""
    return invalid("page_token", "bukan lanjutan dari jawaban sebelumnya", "is not that of an earlier answer")
