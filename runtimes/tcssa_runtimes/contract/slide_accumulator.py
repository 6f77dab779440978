"""The way from chunks to slots: launches in flight, sums, slots.

`Launches` packs chunks of any slides into full launches and hands their sums on in order. A
`SlideAccumulator` is the whole way of one slide; `tcssa_runtimes.archive.launch_scheduler` takes
many slides through the same launches.

Shapes: n patches of a part, N patches, D features.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

from numpy.typing import NDArray

from tcssa_runtimes.contract.checks import check_size
from tcssa_runtimes.contract.chunks import Chunk, ChunkCutter, Features, Positions
from tcssa_runtimes.contract.launch import Launch
from tcssa_runtimes.contract.model_runner import ModelRunner
from tcssa_runtimes.contract.outputs import EncodedSlide
from tcssa_runtimes.contract.slide_sums import ChunkSums

Tag = TypeVar("Tag")
"""What comes back beside a chunk's sums."""


class Launches(Generic[Tag]):
    """Packs chunks into full launches; use it as a context manager, which waits for the last.

    Args:
        runner: The model; it is open, and streams.
        alone: Launch each chunk at once and wait for it, whatever the runner could take together.
    """

    def __init__(self, runner: ModelRunner, *, alone: bool = False) -> None:
        self.compute_s = 0.0
        """Seconds of beginning launches and of waiting for them."""
        self._runner = runner
        self._chunks_at_once = 1 if alone else runner.chunks_at_once
        self._launches_at_once = 1 if alone else runner.launches_at_once
        self._waiting: list[tuple[Tag, Features]] = []
        self._in_flight: deque[tuple[list[Tag], Launch]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.discard()  # after an error too: the memory of a launch is used again

    def put(self, tag: Tag, chunk: Features) -> Iterator[tuple[Tag, ChunkSums]]:
        """Add a chunk, and yield those that were computed meanwhile.

        Args:
            tag: Comes back beside the chunk's sums.
            chunk: Features [n, D] as `ModelRunner.check_chunk` returns them.

        Yields:
            Tags in the order in which they were put, with the sums of their chunks.
        """
        self._waiting.append((tag, chunk))
        if len(self._waiting) == self._chunks_at_once:
            yield from self._launch()

    def drain(self) -> Iterator[tuple[Tag, ChunkSums]]:
        """Launch the chunks that wait, and yield all that have not come back yet."""
        if self._waiting:
            yield from self._launch()
        while self._in_flight:
            yield from self._collect()

    def discard(self) -> None:
        """Drop the chunks that wait, and wait for those that are being computed."""
        self._waiting.clear()
        while self._in_flight:
            self._in_flight.popleft()[1].result()

    def _launch(self) -> Iterator[tuple[Tag, ChunkSums]]:
        """Launch the chunks that wait; collect the oldest launch where enough are in flight."""
        waiting, self._waiting = self._waiting, []
        begin = time.perf_counter()
        launch = self._runner.launch([chunk for _, chunk in waiting])
        self.compute_s += time.perf_counter() - begin
        self._in_flight.append(([tag for tag, _ in waiting], launch))
        while len(self._in_flight) >= self._launches_at_once:
            yield from self._collect()

    def _collect(self) -> Iterator[tuple[Tag, ChunkSums]]:
        """Wait for the oldest launch."""
        tags, launch = self._in_flight.popleft()
        begin = time.perf_counter()
        found = launch.result()
        self.compute_s += time.perf_counter() - begin
        yield from zip(tags, found, strict=True)


class SlideAccumulator:
    """Takes the patches of one slide in parts of any sizes, and makes its slots.

    A model that streams sums them up chunk by chunk as they come; one of whole slides takes them
    all together in `finish`. Use it as a context manager, which leaves no launch in flight.

    Args:
        runner: The model; it is open.
        has_coords: Whether the parts come with positions.
        mpp: Microns per unit of the positions; needed by a model with places.
        alone: See `Launches`.
    """

    def __init__(
        self, runner: ModelRunner, *, has_coords: bool, mpp: float | None, alone: bool = False
    ) -> None:
        self.num_patches = 0
        """Patches that were added."""
        self._runner, self._has_coords, self._mpp = runner, has_coords, mpp
        self._sums = runner.no_sums(has_coords=has_coords, mpp=mpp)
        self._launches: Launches[Positions | None] = Launches(runner, alone=alone)
        rows = runner.facts.chunk_patches
        self._cutter = None if rows is None else ChunkCutter(rows)
        self._parts: list[Chunk] = []
        """All patches, for a model of whole slides."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.discard()

    def add(self, features: NDArray[Any], positions: Positions | None) -> None:
        """Add the next patches.

        Args:
            features: Features [n, D], of any floating type.
            positions: Their positions, [n, 2]; None for a slide without.

        Raises:
            NonFiniteFeatureError: A patch of these, or an earlier one, has a NaN or an infinity;
                the error names its row within the slide.
            ShapeError: The shape or the type does not fit the model, a feature is beyond the range
                of the type that it takes, or there are too many patches.
        """
        part = Chunk(self._runner.check_chunk(features, self.num_patches), positions)
        self.num_patches += len(features)
        check_size(self._runner.facts, self.num_patches)
        if self._cutter is None:
            self._parts.append(part)
        else:
            self._launch(self._cutter.add(part))

    def finish(self, *, filled_to: int = 1) -> EncodedSlide:
        """Make the slots of all patches that were added.

        Args:
            filled_to: See `ModelRunner.finish`.

        Raises:
            NonFiniteFeatureError: A patch has a NaN or an infinity.
            ShapeError: Half precision overflowed, or the model needs positions and there are none.
        """
        if self._cutter is None:
            parts, self._parts = self._parts, []
            slide = self._runner.run_whole(parts, has_coords=self._has_coords, mpp=self._mpp)
        else:
            self._launch(self._cutter.rest())
            self._sum_up(self._launches.drain())
            (slide,) = self._runner.finish([self._sums], filled_to=filled_to)
        self._runner.require_finite(slide.slots)
        return slide

    def discard(self) -> None:
        """Drop the patches that wait, and wait for those that are being computed."""
        self._parts.clear()
        if self._cutter is not None:
            self._cutter.clear()
        self._launches.discard()

    def _launch(self, chunks: Iterable[Chunk]) -> None:
        for features, positions in chunks:
            self._sum_up(self._launches.put(positions, features))

    def _sum_up(self, found: Iterable[tuple[Positions | None, ChunkSums]]) -> None:
        for positions, sums in found:
            self._sums.add(sums, positions)
