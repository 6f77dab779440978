"""Reading ahead of the encoder: slides are planned and patches decoded while it works.

Slides and parts come in order, and only so many at a time: memory does not grow with the slide,
and batches do not depend on timing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import DiskFullError, TcssaError
from tcssa.slides.extraction.plan import SlidePlan
from tcssa.slides.extraction.report import SlideResult
from tcssa.slides.image.reader import PatchReader
from tcssa.slides.manifest import SlideFile

T = TypeVar("T")
Fetched = TypeVar("Fetched")

_READ_PATCHES = 8
"""Patches a thread reads at a time."""

Pixels = tuple[NDArray[np.uint8], NDArray[np.bool_]]
Planned = tuple[SlidePlan, PatchReader]


@dataclass(frozen=True, eq=False)
class PlannedSlide:
    """A slide with its plan and the reader of its patches, or with the reason why it has none.

    The reason is an error, or a result: another process has the slide, or had it and is done.
    """

    slide: SlideFile
    made: Planned | SlideResult | TcssaError


@dataclass(frozen=True, eq=False)
class Part:
    """Some patches of a slide that are being read; none for a slide without patches."""

    slide: PlannedSlide
    corners: NDArray[np.int64]
    pixels: Future[Pixels] | None = None
    is_last: bool = True
    """Whether the slide's other parts have all come before."""


class _Countdown:
    """Calls a function once it was called itself so many times.

    A slide is closed, and its copy removed, by the thread that reads its last patch: the next
    slide may wait for that room while the encoder waits for the next slide.
    """

    def __init__(self, number: int, at_zero: Callable[[], None]) -> None:
        self._left, self._at_zero = number, at_zero
        self._lock = threading.Lock()

    def __call__(self, *_: object) -> None:
        with self._lock:
            self._left -= 1
            is_zero = self._left == 0
        if is_zero:
            self._at_zero()


def ahead(items: Iterable[T], number: int) -> Iterator[T]:
    """Yield the same items, taking some of them before they are asked for.

    Args:
        items: The items.
        number: How many are taken in advance.
    """
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > number:
            yield taken.popleft()
    yield from taken


def planned(
    slides: Iterable[SlideFile],
    fetch: Callable[[SlideFile], Fetched],
    plan: Callable[[SlideFile, Future[Fetched]], Planned | SlideResult],
    num_fetched: int,
    pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor],
) -> Iterator[PlannedSlide]:
    """Plan slides, one ahead, and fetch them before that.

    Args:
        slides: The slides, in the order in which they are read.
        fetch: Fetches a slide; they are fetched one after another.
        plan: Plans a slide that is fetched, or returns the result of one that needs no plan.
        num_fetched: How many more are fetched ahead of those that are planned.
        pools: A thread that fetches, and one that plans.

    Raises:
        DiskFullError: There is no space left; any other `TcssaError` is kept with its slide.
    """
    fetching, planning = pools
    fetches = ahead(((slide, fetching.submit(fetch, slide)) for slide in slides), num_fetched)
    futures = ((slide, planning.submit(plan, slide, fetched)) for slide, fetched in fetches)
    for slide, future in ahead(futures, 1):
        made: Planned | SlideResult | TcssaError
        try:
            made = future.result()
        except DiskFullError:
            raise
        except TcssaError as error:
            made = error
        yield PlannedSlide(slide, made)


def parts(slides: Iterable[PlannedSlide], pool: ThreadPoolExecutor, number: int) -> Iterator[Part]:
    """Start reading the patches of all slides in order, some parts ahead.

    Args:
        slides: The slides and their plans.
        pool: Threads that read.
        number: How many parts are read in advance.
    """
    return ahead(_started(slides, pool), number)


def _started(slides: Iterable[PlannedSlide], pool: ThreadPoolExecutor) -> Iterator[Part]:
    for slide in slides:
        if not isinstance(slide.made, tuple) or len(slide.made[0].corners) == 0:
            yield Part(slide, np.empty((0, 2), np.int64))
            continue
        plan, reader = slide.made
        read = _Countdown(-(-len(plan.corners) // _READ_PATCHES), reader.close)
        for begin in range(0, len(plan.corners), _READ_PATCHES):
            end = begin + _READ_PATCHES
            some = plan.corners[begin:end]
            pixels = pool.submit(reader.read, some)
            pixels.add_done_callback(read)
            yield Part(slide, some, pixels, is_last=end >= len(plan.corners))
