"""Packing chunks of many slides into full launches.

A launch takes as many chunks as the runtime allows, from whatever slides have been read. The sums
of a chunk are added to its slide's. Slides whose last chunk was added wait for each other, and the
experts run on several of them at once, since for a small slide most of what is read in this step is
the experts' weights.

A slide's result does not depend on its neighbours: its chunks begin at fixed rows and are added in
order, and the experts always run on the same number of slides, filled up with empty ones at the
end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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
from tcssa_runtimes.contract.base import Pending, Runtime
from tcssa_runtimes.contract.outputs import EncodedSlide
from tcssa_runtimes.contract.slide_accumulator import SlideSums

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
    whole: EncodedSlide | None = None
    """The result, if the model takes slides whole."""
    input_hash: str = ""


@dataclass(frozen=True)
class _Launch:
    """A launch in flight: its chunks, and the ends of slides that came among them."""

    messages: list[Piece | Ended]
    pieces: list[Piece]
    pending: Pending


class Packer:
    """Encodes the slides that a `ReaderPool` reads.

    Args:
        runtime: The model; it is open.
        pool: The pool that reads the slides.
    """

    def __init__(self, runtime: Runtime, pool: ReaderPool) -> None:
        self.compute_s = 0.0
        """Seconds in which the model ran."""
        self.idle_s = 0.0
        """Seconds of waiting for features to run it on."""
        self._runtime, self._pool = runtime, pool
        self._open: dict[int, _Open] = {}
        self._waiting: list[Piece | Ended] = []
        self._launched: list[_Launch] = []
        self._complete: dict[int, _Open] = {}
        self._failed: set[int] = set()

    def outcomes(self) -> Iterator[Outcome]:
        """Encode all slides, and yield the outcome of each as soon as it is known.

        Raises:
            TcssaError: There was an error that is not the fault of one slide.
        """
        messages = self._pool.messages()
        while (message := self._next(messages)) is not None:
            yield from self._take(message)
        yield from self._launch()
        while self._launched:
            yield from self._collect()
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
            case Piece() | Ended():
                self._waiting.append(message)
                chunks = sum(isinstance(waiting, Piece) for waiting in self._waiting)
                if chunks == self._runtime.chunks_at_once or not (chunks or self._launched):
                    yield from self._launch()

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
            self.compute_s += time.perf_counter() - begin
            self._pool.give_back(piece)

    def _launch(self) -> Iterator[Outcome]:
        """Launch the chunks that wait; collect the oldest launch where enough are in flight."""
        waiting, self._waiting = self._waiting, []
        pieces = [message for message in waiting if isinstance(message, Piece)]
        begin = time.perf_counter()
        pending = self._runtime.launch([piece.features for piece in pieces]) if pieces else list
        self.compute_s += time.perf_counter() - begin
        self._launched.append(_Launch(waiting, pieces, pending))
        while len(self._launched) >= self._runtime.launches_at_once:
            yield from self._collect()

    def _collect(self) -> Iterator[Outcome]:
        """Wait for the oldest launch, add its sums, and end the slides that it completes."""
        launch = self._launched.pop(0)
        begin = time.perf_counter()
        found = launch.pending()
        self.compute_s += time.perf_counter() - begin
        for piece, sums in zip(launch.pieces, found, strict=True):
            self._pool.give_back(piece)
            if piece.slide not in self._open:  # a slide that failed is not needed any more
                continue
            try:
                self._open[piece.slide].sums.add(sums, piece.positions)
            except NonFiniteFeatureError as error:
                self._pool.drop(piece.slide)
                yield from self._fail(piece.slide, error)
        for message in launch.messages:
            if isinstance(message, Ended) and message.slide in self._open:
                yield from self._end(message)

    def _end(self, message: Ended) -> Iterator[Outcome]:
        slide = self._open.pop(message.slide)
        slide.input_hash = message.input_hash
        if slide.header.num_patches == 0:
            yield Empty(message.slide)
        elif slide.whole is not None:
            yield Encoded(message.slide, slide.header, slide.whole, slide.input_hash)
        else:
            self._complete[message.slide] = slide
            if len(self._complete) == SLIDES_AT_ONCE:
                yield from self._finish()

    def _finish(self) -> Iterator[Outcome]:
        """Make the slots of the slides that are complete."""
        complete, self._complete = self._complete, {}
        if not complete:
            return
        begin = time.perf_counter()
        encoded = finish_slides(self._runtime, [slide.sums for slide in complete.values()])
        self.compute_s += time.perf_counter() - begin
        for (index, opened), slide in zip(complete.items(), encoded, strict=True):
            try:
                self._runtime.require_finite(slide.slots)
            except ShapeError as error:
                yield from self._fail(index, error)
            else:
                yield Encoded(index, opened.header, slide, opened.input_hash)

    def _fail(self, slide: int, error: BaseException) -> Iterator[Failed]:
        """Yield one failure for a slide, which may fail again while its chunks are in flight."""
        if not isinstance(error, FileError | ShapeError | NonFiniteFeatureError):
            raise error
        self._open.pop(slide, None)
        if slide not in self._failed:
            self._failed.add(slide)
            yield Failed(slide, error)


def finish_slides(runtime: Runtime, sums: Sequence[SlideSums]) -> list[EncodedSlide]:
    """Make the slots of at most `SLIDES_AT_ONCE` slides.

    The batch is always filled up to that size, so that the last bits of a slide's slots do not
    depend on the other slides.

    Args:
        runtime: The model; it is open, and streams.
        sums: The sums of slides whose chunks have all been added.

    Returns:
        The slides in the order of their sums; see `Runtime.finish`.
    """
    filling = [runtime.no_sums(has_coords=False)] * (SLIDES_AT_ONCE - len(sums))
    return runtime.finish([*sums, *filling])[: len(sums)]
