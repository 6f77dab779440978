"""Patches of one slide, read by many threads.

Where the format's reader allows it, the threads share one handle, and with it the tiles that it
has decoded: neighbouring patches lie on the same tiles. OpenSlide remembers an error, and after one
damaged tile a handle refuses every other tile too. So a patch that fails is tried once more through
a handle of its own, which no other thread's bad tile can spoil; the others are read through a new
one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.slides.image.slide import Slide
from tcssa.slides.settings import Resample

_ALL_THREADS = -1
"""Stands for the thread where one handle serves all."""


@dataclass
class _Handle:
    """An open slide, and how many threads read from it."""

    slide: Slide
    users: int = 0
    retired: bool = False

    def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            self.slide.close()
            self.retired = False  # closed once


class PatchReader:
    """Reader of a slide's patches, safe to share between threads.

    Args:
        path: File of the slide, or its folder.
        size_level0: Side of a patch, in level-0 pixels.
        out_px: Side that patches are resampled to, in pixels.
        reader: Name of the reader, as `Slide` takes it.
        held: Resources that are freed when the reader is closed, such as a copy of a remote slide.
        resample: Method of resampling, as `tcssa.slides.image.slide.resized` takes it.
        scene: Scene of the slide, as `Slide` takes it.
    """

    def __init__(
        self,
        path: Path,
        size_level0: int,
        out_px: int,
        reader: str | None = None,
        held: ExitStack | None = None,
        resample: Resample = "area",
        scene: int | None = None,
    ) -> None:
        self.path, self.size_level0, self.out_px = path, size_level0, out_px
        self.decode_s = 0.0
        """Seconds of reading, summed over all threads."""
        self._reader, self._scene = reader, scene
        self._held, self._resample = held, resample
        self._handles: dict[int, _Handle] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def read(self, corners: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read patches at the level-0 corners (x, y), ``[n, 2]``.

        Returns:
            Pixels ``[n, out_px, out_px, 3]``, and which of the patches could be read, ``[n]``; the
            pixels of the others are meaningless.
        """
        begin = time.perf_counter()
        pixels = np.zeros((len(corners), self.out_px, self.out_px, 3), np.uint8)
        readable = np.ones(len(corners), np.bool_)
        for row, (x, y) in enumerate(corners.tolist()):
            patch = None if self._stopped else self._read_or_retry(x, y)
            if patch is None:
                readable[row] = False
            else:
                pixels[row] = patch
        with self._lock:
            self.decode_s += time.perf_counter() - begin
        return pixels, readable

    def stop(self) -> None:
        """Stop reading: patches that are still asked for count as unreadable."""
        self._stopped = True

    def close(self) -> None:
        """Close the slide, once no thread reads from it any more."""
        with self._lock:
            for handle in list(self._handles.values()):
                self._retire(handle)
            held, self._held = self._held, None
        if held is not None:
            held.close()

    def _read_or_retry(self, x: int, y: int) -> NDArray[np.uint8] | None:
        try:
            with self._open_slide() as slide:
                return self._patch(slide, x, y)
        except SlideError:
            pass
        try:
            with Slide(self.path, self._reader, self._scene) as slide:
                return self._patch(slide, x, y)
        except SlideError:
            return None

    def _patch(self, slide: Slide, x: int, y: int) -> NDArray[np.uint8]:
        return slide.read_patch(x, y, self.size_level0, self.out_px, self._resample)

    @contextmanager
    def _open_slide(self) -> Iterator[Slide]:
        """Yield the handle of all threads, or this thread's own where the format needs that."""
        with self._lock:
            handle = self._handles.get(_ALL_THREADS) or self._handles.get(threading.get_ident())
            if handle is None:
                slide = Slide(self.path, self._reader, self._scene)
                key = _ALL_THREADS if slide.is_shareable else threading.get_ident()
                handle = self._handles[key] = _Handle(slide)
            handle.users += 1
        try:
            yield handle.slide
        except SlideError:
            with self._lock:
                self._retire(handle)
            raise
        finally:
            with self._lock:
                handle.users -= 1
                handle.close_if_unused()

    def _retire(self, handle: _Handle) -> None:
        """Retire a handle; the last thread to read from it closes it."""
        self._handles = {key: other for key, other in self._handles.items() if other is not handle}
        handle.retired = True
        handle.close_if_unused()
