"""Many slides through the same launches.

A launch takes as many chunks as the runtime allows, from whatever slides have been read
(`tcssa_runtimes.contract.slide_accumulator`), and their sums are added to their slides'. Slides
whose last chunk was added wait for each other, and the experts run on several of them at once,
since for a small slide most of what is read in this step is the experts' weights.

A slide's result does not depend on its neighbours: its chunks begin at fixed rows and are added in
order, and the experts always run on the same number of slides, filled up with empty ones at the
end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tcssa.errors import FileError, NonFiniteFeatureError, ShapeError, TcssaError
from tcssa_runtimes.archive.reader_pool import (
    Begun,
    Broken,
    Ended,
    Message,
    Piece,
    ReaderPool,
    SlideHeader,
)
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.outputs import EncodedSlide
from tcssa_runtimes.contract.slide_accumulator import Launches
from tcssa_runtimes.contract.slide_sums import ChunkSums, SlideSums

SLIDES_AT_ONCE = 16
"""Slides that the experts run on at once; 16 take 3 to 4 times as long as one."""


@dataclass(frozen=True)
class Encoded:
    """A slide that was encoded."""

    index: int
    header: SlideHeader
    slide: EncodedSlide
    input_hash: str


@dataclass(frozen=True)
class Failed:
    """A slide that cannot be encoded."""

    index: int
    error: TcssaError


@dataclass(frozen=True)
class Empty:
    """A slide without a single patch."""

    index: int


Outcome = Encoded | Failed | Empty


@dataclass
class _Open:
    """A slide that is being encoded."""

    header: SlideHeader
    sums: SlideSums
    pieces_left: int = 0
    """Pieces that were launched, or wait for it, and are not added yet."""
    whole: EncodedSlide | None = None
    """The result, if the model takes slides whole."""
    input_hash: str | None = None
    """Known once the last piece was read."""


class Packer:
    """Encodes the slides that a `ReaderPool` reads.

    Args:
        runtime: The model; it is open.
        pool: The pool that reads the slides.
    """

    def __init__(self, runtime: Runtime, pool: ReaderPool) -> None:
        self.idle_s = 0.0
        """Seconds of waiting for features to run it on."""
        self._runtime, self._pool = runtime, pool
        self._open: dict[int, _Open] = {}
        self._launches: Launches[Piece] = Launches(runtime)
        self._other_compute_s = 0.0
        self._complete: dict[int, _Open] = {}
        self._failed: set[int] = set()

    @property
    def compute_s(self) -> float:
        """Return the seconds in which the model ran."""
        return self._launches.compute_s + self._other_compute_s

    def outcomes(self) -> Iterator[Outcome]:
        """Encode all slides, and yield the outcome of each as soon as it is known.

        Raises:
            TcssaError: There was an error that is not the fault of one slide.
        """
        messages = self._pool.messages()
        with self._launches:
            while (message := self._next(messages)) is not None:
                yield from self._take(message)
            yield from self._sum_up(self._launches.drain())
        yield from self._finish()

    def _next(self, messages: Iterator[Message]) -> Message | None:
        begin = time.perf_counter()
        message = next(messages, None)
        self.idle_s += time.perf_counter() - begin
        return message

    def _take(self, message: Message) -> Iterator[Outcome]:
        match message:
            case Begun(slide, header):
                has_coords = header.coords is not None
                sums = self._runtime.no_sums(has_coords=has_coords, mpp=header.mpp)
                self._open[slide] = _Open(header, sums)
            case Broken(slide, error):
                yield from self._fail(slide, error)
            case Piece() if self._runtime.facts.chunk_patches is None:
                yield from self._encode_whole(message)
            case Piece(slide, features):
                if slide in self._open:
                    self._open[slide].pieces_left += 1
                yield from self._sum_up(self._launches.put(message, features))
            case Ended(slide, input_hash):
                if slide in self._open:
                    self._open[slide].input_hash = input_hash
                    yield from self._end_if_complete(slide)

    def _encode_whole(self, piece: Piece) -> Iterator[Outcome]:
        begin = time.perf_counter()
        try:
            mpp = self._open[piece.slide].header.mpp
            slide = self._runtime.encode(piece.features, piece.positions, mpp)
        except (ShapeError, NonFiniteFeatureError) as error:
            yield from self._fail(piece.slide, error)
        else:
            self._open[piece.slide].whole = slide
        finally:
            self._other_compute_s += time.perf_counter() - begin
            self._pool.give_back(piece)

    def _sum_up(self, launched: Iterable[tuple[Piece, ChunkSums]]) -> Iterator[Outcome]:
        """Add the sums of pieces to their slides, and end the slides that they complete."""
        for piece, sums in launched:
            self._pool.give_back(piece)
            slide = self._open.get(piece.slide)
            if slide is None:  # it failed, and is not needed any more
                continue
            try:
                slide.sums.add(sums, piece.positions)
            except NonFiniteFeatureError as error:
                self._pool.drop(piece.slide)
                yield from self._fail(piece.slide, error)
            else:
                slide.pieces_left -= 1
                yield from self._end_if_complete(piece.slide)

    def _end_if_complete(self, index: int) -> Iterator[Outcome]:
        slide = self._open[index]
        if slide.input_hash is None or slide.pieces_left:
            return
        del self._open[index]
        if slide.header.num_patches == 0:
            yield Empty(index)
        elif slide.whole is not None:
            yield Encoded(index, slide.header, slide.whole, slide.input_hash)
        else:
            self._complete[index] = slide
            if len(self._complete) == SLIDES_AT_ONCE:
                yield from self._finish()

    def _finish(self) -> Iterator[Outcome]:
        """Make the slots of the slides that are complete."""
        complete, self._complete = self._complete, {}
        if not complete:
            return
        begin = time.perf_counter()
        encoded = self._runtime.finish(
            [slide.sums for slide in complete.values()], filled_to=SLIDES_AT_ONCE
        )
        self._other_compute_s += time.perf_counter() - begin
        for (index, opened), slide in zip(complete.items(), encoded, strict=True):
            try:
                self._runtime.require_finite(slide.slots)
            except ShapeError as error:
                yield from self._fail(index, error)
            else:
                assert opened.input_hash is not None  # complete slides have it
                yield Encoded(index, opened.header, slide, opened.input_hash)

    def _fail(self, slide: int, error: BaseException) -> Iterator[Failed]:
        """Yield one failure for a slide, which may fail again while its chunks are in flight."""
        if not isinstance(error, FileError | ShapeError | NonFiniteFeatureError):
            raise error
        self._open.pop(slide, None)
        if slide not in self._failed:
            self._failed.add(slide)
            yield Failed(slide, error)
