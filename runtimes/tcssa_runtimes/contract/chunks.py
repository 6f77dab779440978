"""Chunks of a slide's patches: features with the positions of the patches.

Shapes: n rows of a chunk, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32] | NDArray[np.float16]
"""float32, or float16 as stored where the runtime takes it; see `ModelRunner.chunk_dtypes`."""
Positions = NDArray[np.float64]
"""Positions (x, y) of patches, [n, 2]."""


class Chunk(NamedTuple):
    """Patches of a slide that follow one another."""

    features: Features
    """[n, D]."""
    positions: Positions | None
    """[n, 2]; None for a slide without positions."""


class ChunkCutter:
    """Cuts the patches of a slide into chunks of equal size, the last one smaller.

    A chunk that lies within one of the parts given is a view of it; only others are copied.

    Args:
        size: Rows of each chunk to make.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[Chunk] = []
        self._room = size

    def add(self, part: Chunk) -> Iterator[Chunk]:
        """Add the next patches, any number, and yield the chunks that they fill."""
        features, positions = part
        begin = 0
        while begin < len(features):
            end = min(begin + self._room, len(features))
            xy = None if positions is None else positions[begin:end]
            self._held.append(Chunk(features[begin:end], xy))
            self._room -= end - begin
            begin = end
            if self._room == 0:
                yield from self.rest()

    def rest(self) -> Iterator[Chunk]:
        """Yield the patches that wait for more as one smaller chunk, if there are any."""
        held = self._held
        self.clear()
        if held:
            yield _joined(held)

    def clear(self) -> None:
        """Drop the patches that wait."""
        self._held, self._room = [], self._size


def _joined(parts: Sequence[Chunk]) -> Chunk:
    """Join parts of a slide that follow one another; one alone is not copied."""
    if len(parts) == 1:
        return parts[0]
    places = [xy for _, xy in parts if xy is not None]
    features = np.concatenate([part for part, _ in parts])
    return Chunk(features, np.concatenate(places) if places else None)
