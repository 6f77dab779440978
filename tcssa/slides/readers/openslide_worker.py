"""Program that opens slides and reads a tile of each level; `trial` runs it and may lose it.

Paths come in as lines of JSON, and for each that it survives a line goes out. It is run by its
path, since importing this package would take longer than everything it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import openslide


def main(memory_bytes: int, seconds: int, tile_side: int) -> None:
    """Try slides until no more paths come in.

    Args:
        memory_bytes: Limit on the address space, in bytes.
        seconds: Limit on the computing time per slide.
        tile_side: Largest side of a tile, in pixels; a slide that states larger ones is not read,
            since the caller refuses it.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to it
    _limit_memory(memory_bytes)
    for line in sys.stdin:
        _limit_time(seconds)
        with contextlib.suppress(Exception):  # damage that is reported is no danger
            _try_slide(Path(json.loads(line)), tile_side)
        answers.write("alive\n")
        answers.flush()


def _try_slide(path: Path, tile_side: int) -> None:
    with openslide.OpenSlide(str(path)) as slide:
        if any(side > tile_side for side in tile_sides(slide)):
            return
        width, height = slide.dimensions
        for level in range(slide.level_count):
            # at the corner, where formats keep their first tile, and where tissue lies
            for corner in ((0, 0), (width // 2, height // 2)):
                slide.read_region(corner, level, (1, 1))


def tile_sides(slide: openslide.OpenSlide) -> list[int]:
    """List the sides of the tiles of all levels, as far as OpenSlide states them."""
    names = (
        f"openslide.level[{level}].tile-{side}"
        for level in range(slide.level_count)
        for side in ("width", "height")
    )
    return [int(slide.properties[name]) for name in names if name in slide.properties]


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":  # elsewhere it is not enforced, or counts what is not taken
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _limit_time(seconds: int) -> None:
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, most))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
