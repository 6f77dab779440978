"""Encoding of the patches of many slides, in batches that are filled across slides.

A slide is done when its last patch is encoded, or has failed to be read. An error of one slide
becomes its result and does not stop the others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.encoders.base import Encoder
from tcssa.errors import DiskFullError, SlideError, TcssaError
from tcssa.slides.extraction.pipeline import Part, PlannedSlide
from tcssa.slides.extraction.plan import SlidePlan
from tcssa.slides.extraction.sinks import PatchSink
from tcssa.slides.image.reader import PatchReader


@dataclass(eq=False)
class SlideWork:
    """One slide on its way through the encoder.

    Attributes:
        slide: The slide.
        plan: Plan of what is read of it.
        reader: Reader of its patches.
        sinks: Sinks of its features.
        num_patches: Patches encoded so far.
        failed: Level-0 corners (x, y) of patches that could not be read, each ``[n, 2]``.
        num_waiting: Patches that are read and not yet encoded.
        all_read: Whether its last patch has come.
        error: Why it failed, None if it has not.
        began: When work on it began, by `time.perf_counter`.
    """

    slide: PlannedSlide
    plan: SlidePlan
    reader: PatchReader
    sinks: Sequence[PatchSink] = ()
    num_patches: int = 0
    failed: list[NDArray[np.int64]] = field(default_factory=list)
    num_waiting: int = 0
    all_read: bool = False
    error: TcssaError | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def num_failed(self) -> int:
        """Number of patches that could not be read."""
        return sum(map(len, self.failed))

    def give_up(self, error: TcssaError) -> None:
        """Fail the slide: stop reading it, and discard its features."""
        self.error = error
        self.reader.stop()
        for sink in self.sinks:
            sink.discard()


Batch = list[tuple[SlideWork, NDArray[np.uint8], NDArray[np.int64]]]
"""Patches of slides: their pixels [n, px, px, 3] and corners [n, 2]."""


@dataclass
class Times:
    """Seconds spent in each part; the parts overlap."""

    wait_s: float = 0.0
    """Waiting for pixels, with nothing to encode."""
    write_s: float = 0.0
    encode_s: float = 0.0
    """Summed over the concurrent calls of the encoder."""
    decode_s: float = 0.0
    """Summed over the threads that read."""
    calls_at_once: int = 1

    def shares(self, total_s: float, num_readers: int) -> dict[str, float]:
        """Return each part's share of a time; encoding and decoding are averaged over threads.

        Args:
            total_s: The time, in seconds.
            num_readers: Number of threads that read.

        Returns:
            The shares ``wait``, ``encode``, ``write`` and ``decode``.
        """
        return {
            "wait": self.wait_s / total_s,
            "encode": self.encode_s / total_s / self.calls_at_once,
            "write": self.write_s / total_s,
            "decode": self.decode_s / total_s / num_readers,
        }


class Encoding:
    """Encodes the patches of slides as they come.

    Args:
        encoder: The encoder.
        batch_size: Patches per batch.
        dtype: Type that features are stored in.
        max_failed: Share of unreadable patches above which a slide fails, from 0 to 1.
        begin: Opens the sinks of a slide.
        on_progress: Called with a slide after some of its patches were encoded.
        on_end: Called with a slide that is done or has failed.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        batch_size: int,
        dtype: str,
        max_failed: float,
        begin: Callable[[SlidePlan], Sequence[PatchSink]],
        on_progress: Callable[[SlideWork], None],
        on_end: Callable[[SlideWork], None],
    ) -> None:
        # an encoder on a CPU takes several calls at once, each on a core; users' own need not say
        self.calls_at_once: int = getattr(encoder, "calls_at_once", 1)
        self.times = Times(calls_at_once=self.calls_at_once)
        self.num_encoded = 0
        self._encoder, self._batch_size, self._dtype = encoder, batch_size, np.dtype(dtype)
        self._max_failed = max_failed
        self._begin, self._on_progress, self._on_end = begin, on_progress, on_end
        self._open: dict[PlannedSlide, SlideWork] = {}
        self._waiting: Batch = []
        self._launched: deque[tuple[Batch, Future[tuple[NDArray[Any], float]]]] = deque()

    def run(self, stream: Iterable[Part]) -> None:
        """Encode all parts, which must be of slides with a plan.

        Raises:
            DiskFullError: There is no space left; slides under way are discarded.
        """
        try:
            with ThreadPoolExecutor(self.calls_at_once, "encode") as pool:
                for part in stream:
                    self._take(part, pool)
                while self._waiting:
                    self._launch(pool)
                while self._launched:
                    self._collect()
        finally:
            for work in self._open.values():  # only after an error
                for sink in work.sinks:
                    sink.discard()

    def _take(self, part: Part, pool: ThreadPoolExecutor) -> None:
        work = self._work_of(part.slide)
        if part.pixels is not None:
            begin = time.perf_counter()
            pixels, readable = part.pixels.result()
            self.times.wait_s += time.perf_counter() - begin
            if work.error is None:
                self._sort(work, pixels, part.corners, readable)
        work.all_read = part.is_last
        while sum(len(corners) for _, _, corners in self._waiting) >= self._batch_size:
            self._launch(pool)
        self._end_if_done(work)

    def _work_of(self, slide: PlannedSlide) -> SlideWork:
        if slide not in self._open:
            assert isinstance(slide.made, tuple)  # the caller's promise
            plan, reader = slide.made
            work = self._open[slide] = SlideWork(slide, plan, reader)
            work.sinks = self._begin(plan)
        return self._open[slide]

    def _sort(
        self,
        work: SlideWork,
        pixels: NDArray[np.uint8],
        corners: NDArray[np.int64],
        readable: NDArray[np.bool_],
    ) -> None:
        """Queue the readable patches for a batch, and note the others as failed."""
        if not readable.all():
            self._note_failed(work, corners[~readable])
            if work.error is not None:
                return
            pixels, corners = pixels[readable], corners[readable]
        if len(corners):
            work.num_waiting += len(corners)
            self._waiting.append((work, pixels, corners))

    def _note_failed(self, work: SlideWork, corners: NDArray[np.int64]) -> None:
        work.failed.append(corners)
        for sink in work.sinks:
            sink.fail(corners)
        total = len(work.plan.corners)
        if work.num_failed > self._max_failed * total:
            x, y = corners[-1].tolist()
            work.give_up(
                SlideError(
                    work.plan.slide.path,
                    f"{work.num_failed} of {total} patches could not be read, "
                    f"one of them at x = {x}, y = {y}",
                    hint="copy the slide again, or allow more than "
                    f"{self._max_failed:.3g} of them with --max-failed",
                )
            )

    def _launch(self, pool: ThreadPoolExecutor) -> None:
        """Start encoding a batch; the very last one may not be full.

        One batch more than the encoder takes at once is under way, so that it never waits for us.
        """
        batch, self._waiting = _split(self._waiting, self._batch_size)
        pixels = np.concatenate([pixels for _, pixels, _ in batch])
        self._launched.append((batch, pool.submit(self._encode, pixels)))
        if len(self._launched) > self.calls_at_once:
            self._collect()

    def _encode(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], float]:
        """Return the features as they are stored, and the seconds they took."""
        begin = time.perf_counter()
        encoded = self._encoder.encode(pixels)
        with np.errstate(over="ignore"):
            features = encoded.astype(self._dtype)
        return features, time.perf_counter() - begin

    def _collect(self) -> None:
        """Wait for the oldest batch, and pass its features on."""
        batch, future = self._launched.popleft()
        features, seconds = future.result()
        self.times.encode_s += seconds
        self.num_encoded += len(features)
        row = 0
        for work, _, corners in batch:
            work.num_waiting -= len(corners)
            if work.error is None:
                self._hand_on(work, features[row : row + len(corners)], corners)
            row += len(corners)
        for work, _, _ in batch:
            self._end_if_done(work)

    def _hand_on(self, work: SlideWork, features: NDArray[Any], corners: NDArray[np.int64]) -> None:
        begin = time.perf_counter()
        try:
            for sink in work.sinks:
                sink.append(features, corners)
        except DiskFullError:
            raise
        except TcssaError as error:
            work.give_up(error)
        else:
            work.num_patches += len(corners)
            self._on_progress(work)
        self.times.write_s += time.perf_counter() - begin

    def _end_if_done(self, work: SlideWork) -> None:
        if not work.all_read or work.num_waiting or work.slide not in self._open:
            return
        del self._open[work.slide]
        work.reader.close()
        self.times.decode_s += work.reader.decode_s
        begin = time.perf_counter()
        if work.error is None:
            try:
                for sink in work.sinks:
                    sink.finish()
            except DiskFullError:
                raise
            except TcssaError as error:
                work.give_up(error)
        self.times.write_s += time.perf_counter() - begin
        self._on_end(work)


def _split(waiting: Batch, size: int) -> tuple[Batch, Batch]:
    """Return the first ``size`` patches, and the rest."""
    batch: Batch = []
    rest: Batch = []
    room = size
    for work, pixels, corners in waiting:
        if room:
            batch.append((work, pixels[:room], corners[:room]))
        if len(corners) > room:
            rest.append((work, pixels[room:], corners[room:]))
        room = max(0, room - len(corners))
    return batch, rest
