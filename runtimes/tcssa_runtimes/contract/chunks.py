"""Chunks of a slide: some of its patches with their positions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32] | NDArray[np.float16]
"""float32, or float16 as stored where the runtime takes it; see `Runtime.chunk_dtypes`."""
Chunk = tuple[Features, NDArray[np.float64] | None]
"""Features [n, D], and the positions [n, 2] of the patches or None."""


def rows_of(chunks: Iterator[Chunk], size: int) -> Iterator[Chunk]:
    """Regroup the patches of a slide into chunks of equal size, the last one smaller.

    A chunk that lies within one of those given is a view of it; only others are copied.

    Args:
        chunks: The patches in order, in chunks of any sizes.
        size: Rows of each chunk to make.

    Yields:
        Chunks of ``size`` rows; the last one may have fewer.
    """
    held: list[Chunk] = []
    room = size
    for features, positions in chunks:
        begin = 0
        while begin < len(features):
            end = min(begin + room, len(features))
            held.append((features[begin:end], None if positions is None else positions[begin:end]))
            room -= end - begin
            begin = end
            if room == 0:
                yield _joined(held)
                held, room = [], size
    if held:
        yield _joined(held)


def _joined(parts: list[Chunk]) -> Chunk:
    if len(parts) == 1:
        return parts[0]
    places = [xy for _, xy in parts if xy is not None]
    return np.concatenate([part for part, _ in parts]), np.concatenate(places) if places else None
