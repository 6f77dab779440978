"""Whether a TIFF is whole: libraries read the first levels of one that was cut short in silence."""

from __future__ import annotations

import struct
from pathlib import Path

_MAX_DIRECTORIES = 10_000


def is_whole_tiff(path: Path) -> bool:
    """Whether the chain of directories of a TIFF or BigTIFF lies within the file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        # of an offset, of the number of entries, of an entry
        offset_code, count_code, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
        try:
            (offset,) = struct.unpack_from(order + offset_code, head, 8 if big else 4)
            for _ in range(_MAX_DIRECTORIES):
                stream.seek(offset)
                count_bytes = stream.read(struct.calcsize(count_code))
                (count,) = struct.unpack(order + count_code, count_bytes)
                end = offset + len(count_bytes) + count * entry_bytes
                if end > size:
                    return False
                stream.seek(end)
                next_bytes = stream.read(struct.calcsize(offset_code))
                (offset,) = struct.unpack(order + offset_code, next_bytes)
                if offset == 0:
                    return True
        except struct.error:
            return False
    return False  # a chain that bites its own tail
