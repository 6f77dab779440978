"""Reading the next slides while earlier ones are computed.

Several threads read bags, each one slide at a time, into one queue. The memory that they hold at
once is bounded in bytes, whatever the number of slides and of their patches. The preparation of a
slide's chunks (conversion to a type that the model takes, checks, the hash of the content) happens
in these threads too.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, ShapeError, UsageError
from tcssa.features import Bag, BagRef, open_bag
from tcssa.features.content import ContentHash
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.features.readers.registry import LOADED_WHOLE
from tcssa.features.writer import Attribute
from tcssa_runtimes.archive.memory_budget import Budget, CancelledError
from tcssa_runtimes.archive.stored_routing import PatchFrame
from tcssa_runtimes.archive.stored_slots import Positions
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.checks import check_size, require_fitting, require_places
from tcssa_runtimes.contract.chunks import Features

_FLOAT32_BYTES = 4
EXTENT = ("level0_width", "level0_height")


@dataclass(frozen=True)
class SlideHeader:
    """Facts of a slide that are known before its features are read."""

    bag: BagRef
    stat: os.stat_result
    num_patches: int
    feature_dim: int
    encoder: str | None
    coords: NDArray[np.float64] | None
    """Positions of the patches, [N, 2]."""
    positions: Positions | None
    """Unit and point of the coords; None where there are none."""
    mpp: float | None = None
    """Microns per unit of the coords, where the file states it."""
    frame: PatchFrame = field(default_factory=PatchFrame)
    """What the coords are in."""
    extent: dict[str, Attribute] = field(default_factory=dict)
    """Width and height of level 0, where the file states them."""
    patch_um: float | None = None
    """Width of a patch in µm, where the file states it."""
    opened: float = field(default_factory=time.perf_counter)
    """When it was read, by `time.perf_counter`."""


@dataclass(frozen=True)
class Begun:
    """A slide was opened and fits the model."""

    slide: int
    header: SlideHeader


@dataclass(frozen=True)
class Piece:
    """Rows of a slide from `Runtime.check_chunk`; all of them if the model takes slides whole."""

    slide: int
    features: Features
    positions: NDArray[np.float64] | None
    """Positions of these rows, [n, 2]."""
    num_bytes: int
    """Memory taken for the features, as float32."""


@dataclass(frozen=True)
class Ended:
    """The last piece of a slide was read."""

    slide: int
    input_hash: str


@dataclass(frozen=True)
class Broken:
    """A slide cannot be read any further."""

    slide: int
    error: BaseException


Message = Begun | Piece | Ended | Broken


class ReaderPool:
    """Reads slides, several at a time; use it as a context manager.

    The messages of one slide come in order (`Begun`, `Piece` …, then `Ended` or `Broken`), those of
    different slides in any order. Whoever takes a `Piece` must give it back, or reading stops once
    the memory is full.

    Args:
        bags: The feature files; messages name a slide by its place among them.
        runtime: The model, which decides the size of chunks and the slides that are refused.
        memory_bytes: Memory to hold at once: half for pieces, half for files that cannot be read in
            parts.
        threads: Number of threads that read.

    Raises:
        UsageError: The memory does not hold the launches in flight and the next one.
    """

    def __init__(
        self, bags: Iterable[BagRef], runtime: Runtime, memory_bytes: int, threads: int
    ) -> None:
        self.read_s = 0.0
        """Seconds that the threads spent reading."""
        self.prepare_s = 0.0
        """Seconds that they spent on conversion, checks and hashing."""
        self.num_bytes = 0
        """Bytes of the features read, as they are stored."""
        self._runtime = runtime
        self._to_come = enumerate(bags)
        self._bags: dict[int, BagRef] = {}
        self._taking = threading.Lock()
        self._pieces, self._files = Budget(memory_bytes // 2), Budget(memory_bytes // 2)
        _require_launches(runtime, self._pieces)
        self._queue: queue.Queue[Message | None] = queue.Queue()
        self._dropped: set[int] = set()
        self._lock = threading.Lock()
        self._running = threads
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"tcssa-read-{i}", daemon=True)
            for i in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pieces.cancel()
        self._files.cancel()
        for thread in self._threads:
            thread.join()

    def messages(self) -> Iterator[Message]:
        """Yield the messages of all slides until the last one.

        Raises:
            TcssaError: The bags could not be listed to the end.
        """
        while self._running:
            message = self._queue.get()
            if message is None:
                self._running -= 1
            else:
                yield message
        if self._error is not None:
            raise self._error

    def bag(self, slide: int) -> BagRef:
        """Return a slide's file, and forget it: the slide has its outcome."""
        return self._bags.pop(slide)

    def give_back(self, piece: Piece) -> None:
        """Free the memory of a piece that was computed."""
        self._pieces.give_back(piece.num_bytes)

    def drop(self, slide: int) -> None:
        """Stop reading a slide."""
        self._dropped.add(slide)

    def held_bytes(self) -> int:
        """Return the memory of the pieces that were read and not given back."""
        return self._pieces.taken()

    def _work(self) -> None:
        try:
            while (slide := self._next_slide()) is not None:
                try:
                    self._read(slide)
                except CancelledError:
                    return
                except BaseException as error:  # whatever it is, the caller must see it
                    self._queue.put(Broken(slide, error))
        finally:
            self._queue.put(None)

    def _next_slide(self) -> int | None:
        with self._taking:
            try:
                slide, bag = next(self._to_come, (None, None))
            except BaseException as error:  # of who gives the bags; the caller must see it
                self._error = error
                return None
            if slide is not None and bag is not None:
                self._bags[slide] = bag
            return slide

    def _read(self, slide: int) -> None:
        ref = self._bags[slide]
        try:
            # before reading: a file that changes meanwhile is renewed by the next call
            stat = ref.file.stat()
            held = stat.st_size if ref.path.suffix.lower() in LOADED_WHOLE else 0
            _require_room(ref, held, self._files)
            self._files.take(held)
            try:
                with open_bag(ref) as bag:
                    self._read_bag(slide, bag, stat)
            finally:
                self._files.give_back(held)
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            raise FeatureFileError(ref.address, reason) from None

    def _read_bag(self, slide: int, bag: Bag, stat: os.stat_result) -> None:
        facts = self._runtime.facts
        begin = time.perf_counter()
        header, stored_coords = _header(bag, stat)
        self._count(read_s=time.perf_counter() - begin)
        if header.num_patches:
            require_fitting(facts, bag.path, header.feature_dim, header.encoder)
            has_coords = header.coords is not None
            require_places(facts, bag.path, header.mpp, has_coords=has_coords)
            check_size(facts, header.num_patches)
        self._queue.put(Begun(slide, header))
        content = ContentHash(header.feature_dim)
        rows = facts.chunk_patches or max(1, header.num_patches)
        for first in range(0, header.num_patches, rows):
            if slide in self._dropped:
                return
            last = min(first + rows, header.num_patches)
            num_bytes = (last - first) * header.feature_dim * _FLOAT32_BYTES
            _require_room(bag.ref, num_bytes, self._pieces)
            self._pieces.take(num_bytes)
            try:
                features = self._read_rows(bag, first, last, content)
            except BaseException:
                self._pieces.give_back(num_bytes)
                raise
            positions = None if header.coords is None else header.coords[first:last]
            self._queue.put(Piece(slide, features, positions, num_bytes))
        self._queue.put(Ended(slide, content.digest(stored_coords)))

    def _read_rows(self, bag: Bag, first: int, last: int, content: ContentHash) -> Features:
        begin = time.perf_counter()
        stored = bag.read(first, last)
        middle = time.perf_counter()
        content.add(stored)
        features = self._runtime.check_chunk(stored, first)
        self._count(
            read_s=middle - begin,
            prepare_s=time.perf_counter() - middle,
            num_bytes=stored.nbytes,
        )
        return features

    def _count(self, *, read_s: float = 0, prepare_s: float = 0, num_bytes: int = 0) -> None:
        with self._lock:
            self.read_s += read_s
            self.prepare_s += prepare_s
            self.num_bytes += num_bytes


def _require_launches(runtime: Runtime, pieces: Budget) -> None:
    """Require memory for the launches in flight and for the next one, read meanwhile.

    Raises:
        UsageError: The budget is smaller than these launches.
    """
    launches = runtime.launches_at_once + 1
    rows = launches * runtime.chunks_at_once * (runtime.facts.chunk_patches or 0)
    needed = rows * runtime.facts.feature_dim * _FLOAT32_BYTES
    if needed > pieces.num_bytes:
        raise UsageError(
            f"--memory must be at least {math.ceil(2 * needed / 1e6)} MB for this model, got "
            f"{2 * pieces.num_bytes / 1e6:,.0f}",
            hint="raise --memory, or export with a smaller --chunk-patches",
        )


def _require_room(bag: BagRef, num_bytes: int, budget: Budget) -> None:
    """Refuse a file or a piece that would never fit into the budget.

    Raises:
        ShapeError: It needs more than the whole budget.
    """
    if num_bytes > budget.num_bytes:
        raise ShapeError(
            f"{bag.path.name} needs {num_bytes / 1e6:,.0f} MB at once, more than half of --memory",
            hint="raise --memory, or encode with an artefact of --graph chunked, or with the run",
        )


def _header(bag: Bag, stat: os.stat_result) -> tuple[SlideHeader, NDArray[Any] | None]:
    """Read the header of a bag, and its coordinates as they are stored."""
    stored = bag.read_coords()
    coords, positions, frame = None, None, PatchFrame()
    if stored is not None:
        coords = stored.astype(np.float64)
        size = bag.patch_size_level0
        if bag.coords_unit == "um":
            size = bag.attributes.get("tile_size_um")
        if size is not None:
            coords += float(size) / 2
        positions = Positions(bag.coords_unit, "corner" if size is None else "centre")
        side = None if size is None else float(size)
        frame = PatchFrame(bag.coords_unit, side, bag.um_per_coord)
    header = SlideHeader(
        bag=bag.ref,
        stat=stat,
        num_patches=bag.num_patches,
        feature_dim=bag.feature_dim,
        encoder=bag.encoder,
        coords=coords,
        positions=positions,
        mpp=bag.um_per_coord,
        frame=frame,
        extent={name: bag.attributes[name] for name in EXTENT if name in bag.attributes},
        patch_um=ExtractionRecord.of(bag.attributes).patch_um,
    )
    return header, stored
