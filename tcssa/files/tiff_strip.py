"""A piece of a TIFF, wrapped into a file of its own that any library decodes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_STRIPS = 273


def one_strip(tags: Mapping[int, Sequence[int] | bytes], content: bytes) -> bytes:
    """Write a TIFF of one directory and one strip, which lies at its end.

    Args:
        tags: Values by tag, the strip's own place among them, which is replaced.
        content: The bytes of the strip, compressed as the tags say.
    """
    begin = 8 + 2 + 12 * len(tags) + 4
    beyond = b""
    entries = []
    for tag, value in sorted(tags.items()):
        packed = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}I", *value)
        kind, number = (7, len(value)) if isinstance(value, bytes) else (4, len(value))
        if len(packed) > 4:
            place = begin + len(beyond)
            beyond += packed + b"\0" * (-len(packed) % 4)
            packed = struct.pack("<I", place)
        entries.append((tag, kind, number, packed.ljust(4, b"\0")))
    at = struct.pack("<I", begin + len(beyond))
    directory = b"".join(
        struct.pack("<HHI4s", tag, kind, number, at if tag == _STRIPS else value)
        for tag, kind, number, value in entries
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + directory + bytes(4) + beyond + content
