"""Patches of one slide, read by many threads.

The threads share one handle, and with it the tiles that it has decoded: neighbouring patches lie
on the same tiles. OpenSlide remembers an error, and after one damaged tile a handle refuses every
other tile too. So a patch that fails is tried once more through a handle of its own, which no
other thread's bad tile can spoil, and the others go on with a new shared one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.slides.slide import Slide


@dataclass
class _Handle:
    """An open slide, and how many threads read from it."""

    slide: Slide
    users: int = 0
    retired: bool = False

    def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            self.slide.close()


class PatchReader:
    """Reads patches of a slide; safe to share between threads.

    Args:
        path: The slide's file.
        size_level0: Side of a patch, in level-0 pixels.
        out_px: Side it is resampled to.
    """

    def __init__(self, path: Path, size_level0: int, out_px: int) -> None:
        self.path, self.size_level0, self.out_px = path, size_level0, out_px
        self.decode_s = 0.0
        """Seconds of reading, the sum over all threads."""
        self._current: _Handle | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def read(self, corners: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read patches at the level-0 corners (x, y), ``[n, 2]``.

        Returns:
            Pixels ``[n, out_px, out_px, 3]``, and which of the patches could be read; the
            pixels of the others mean nothing.
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
        """Read nothing more: whatever is still asked for counts as unreadable."""
        self._stopped = True

    def close(self) -> None:
        """Close the slide, once no thread reads from it any more."""
        with self._lock:
            self._retire()

    def _read_or_retry(self, x: int, y: int) -> NDArray[np.uint8] | None:
        try:
            with self._shared() as slide:
                return slide.read_patch(x, y, self.size_level0, self.out_px)
        except SlideError:
            pass
        try:
            with Slide(self.path) as slide:
                return slide.read_patch(x, y, self.size_level0, self.out_px)
        except SlideError:
            return None

    @contextmanager
    def _shared(self) -> Iterator[Slide]:
        with self._lock:
            if self._current is None:
                self._current = _Handle(Slide(self.path))
            handle = self._current
            handle.users += 1
        try:
            yield handle.slide
        except SlideError:
            with self._lock:
                if self._current is handle:
                    self._retire()
            raise
        finally:
            with self._lock:
                handle.users -= 1
                handle.close_if_unused()

    def _retire(self) -> None:
        """Let go of the shared handle; whoever reads from it last closes it."""
        handle, self._current = self._current, None
        if handle is not None:
            handle.retired = True
            handle.close_if_unused()
