"""Enough of HTTP/2 to call a server in ways that no client library would."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(path: str, **more: bytes) -> bytes:
    """The headers of a gRPC call, none of them packed; more of them with - for _."""
    pairs = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "antrian"}
    pairs |= {"te": "trailers", "content-type": "application/grpc"}
    fields = {name: value.encode() for name, value in pairs.items()}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(b"\0" + _text(name.encode()) + _text(value) for name, value in fields.items())


def _text(text: bytes) -> bytes:
    """Its length as HPACK writes it, and itself."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, length = len(text) - 127, b"\x7f"
    while rest >= 128:
        rest, length = rest // 128, length + bytes([rest % 128 + 128])
    return length + bytes([rest]) + text
