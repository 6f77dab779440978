"""Reading ahead of the encoder: slides are planned and patches decoded while it works.

Everything comes in order and in a bounded number, so the memory does not grow with the slide,
and the batches (and with them the last bit of every feature) do not depend on timing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import DiskFullError, TcssaError
from tcssa.slides.manifest import SlideFile
from tcssa.slides.plan import SlidePlan
from tcssa.slides.reader import PatchReader

T = TypeVar("T")
ScalarT = TypeVar("ScalarT", bound=np.generic)

_READ_PATCHES = 8
"""Patches a thread reads at a time."""

Pixels = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class PlannedSlide:
    """A slide with its plan and what reads its patches, or with the reason why it has none."""

    slide: SlideFile
    made: tuple[SlidePlan, PatchReader] | TcssaError


@dataclass(frozen=True, eq=False)
class Part:
    """Some patches of a slide that are being read; none for a slide without patches."""

    slide: PlannedSlide
    corners: NDArray[np.int64]
    pixels: Future[Pixels] | None = None


def ahead(items: Iterable[T], number: int) -> Iterator[T]:
    """The same items, ``number`` of them taken before they are asked for."""
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > number:
            yield taken.popleft()
    yield from taken


def planned(
    slides: Sequence[SlideFile],
    plan: Callable[[SlideFile], tuple[SlidePlan, PatchReader]],
    pool: ThreadPoolExecutor,
) -> Iterator[PlannedSlide]:
    """Plan slides, one ahead.

    Raises:
        DiskFullError: There is no space left; any other error is one slide's.
    """
    futures = ((slide, pool.submit(plan, slide)) for slide in slides)
    for slide, future in ahead(futures, 1):
        made: tuple[SlidePlan, PatchReader] | TcssaError
        try:
            made = future.result()
        except DiskFullError:
            raise
        except TcssaError as error:
            made = error
        yield PlannedSlide(slide, made)


def parts(slides: Iterable[PlannedSlide], pool: ThreadPoolExecutor, number: int) -> Iterator[Part]:
    """Start reading the patches of all slides in order, ``number`` parts ahead."""
    return ahead(_started(slides, pool), number)


def batches(
    slide_parts: Iterable[Part], size: int, on_failed: Callable[[NDArray[np.int64]], None]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Readable patches of one slide as pixels ``[b, px, px, 3]`` and corners ``[b, 2]``.

    Args:
        slide_parts: The slide's parts.
        size: b, but for the last one.
        on_failed: Told the corners of patches that could not be read.
    """
    pixels: list[NDArray[np.uint8]] = []
    corners: list[NDArray[np.int64]] = []
    for part in slide_parts:
        if part.pixels is None:
            continue
        read, readable = part.pixels.result()
        if not readable.all():
            on_failed(part.corners[~readable])
        pixels.append(read if readable.all() else read[readable])
        corners.append(part.corners[readable])
        while sum(map(len, corners)) >= size:
            joined, places = _joined(pixels), _joined(corners)
            yield joined[:size], places[:size]
            pixels, corners = [joined[size:]], [places[size:]]
    if sum(map(len, corners)):
        yield _joined(pixels), _joined(corners)


@contextmanager
def closing(reader: PatchReader, slide_parts: Iterable[Part]) -> Iterator[None]:
    """Close a slide's reader after the block, once no thread reads from it."""
    try:
        yield
    finally:
        reader.stop()
        wait([part.pixels for part in slide_parts if part.pixels is not None])
        reader.close()


def _started(slides: Iterable[PlannedSlide], pool: ThreadPoolExecutor) -> Iterator[Part]:
    for slide in slides:
        if isinstance(slide.made, TcssaError) or len(slide.made[0].corners) == 0:
            yield Part(slide, np.empty((0, 2), np.int64))
            continue
        plan, reader = slide.made
        for begin in range(0, len(plan.corners), _READ_PATCHES):
            some = plan.corners[begin : begin + _READ_PATCHES]
            yield Part(slide, some, pool.submit(reader.read, some))


def _joined(arrays: list[NDArray[ScalarT]]) -> NDArray[ScalarT]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
