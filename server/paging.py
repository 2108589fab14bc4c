"""Page sizes, and page tokens: an opaque position that callers pass back unchanged."""

import base64
import binascii

from antrian.errors import invalid


def page_size(requested: int, default: int, largest: int) -> int:
    """Returns the size of a page: the default for 0, at most the largest (AIP-158). Raises INVALID_FIELD if negative."""
    if requested < 0:
        raise invalid("page_size", "tidak boleh negatif", "must not be negative")
    return min(requested or default, largest)


def write_token(*position: str) -> str:
    """Returns the token of the page after this position. Its parts must not contain blanks."""
    return base64.urlsafe_b64encode(" ".join(position).encode()).decode()


def read_token(token: str, parts: int) -> list[str] | None:
    """Returns the position that write_token encoded, or None for the first page. Raises INVALID_FIELD if it is invalid."""
    if not token:
        return None
    try:
        position = base64.urlsafe_b64decode(token.encode()).decode("ascii").split(" ")
    except (ValueError, binascii.Error):
        position = []
    if len(position) != parts:
        raise not_a_token()
    return position


def not_a_token() -> Exception:
    """Returns the refusal of a page token that this rpc did not issue."""
    return invalid("page_token", "bukan lanjutan dari jawaban sebelumnya", "is not one from an earlier response")
