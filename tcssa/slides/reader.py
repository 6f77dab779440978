"""Patches of one slide, read by many threads.

OpenSlide remembers an error: after one damaged tile a handle refuses every other tile too. So
each thread has a handle of its own, which is opened again after an error, and the patch is
tried once more before it counts as failed.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.slides.slide import Slide


class PatchReader:
    """Reads patches of a slide; safe to share between threads.

    Args:
        path: The slide's file.
        size_level0: Side of a patch, in level-0 pixels.
        out_px: Side it is resampled to.
        reader: As `Slide` takes it.
        held: What is to be freed when the reader is closed, such as a copy of a remote slide.
    """

    def __init__(
        self,
        path: Path,
        size_level0: int,
        out_px: int,
        reader: str | None = None,
        held: ExitStack | None = None,
    ) -> None:
        self.path, self.size_level0, self.out_px = path, size_level0, out_px
        self._reader, self._held = reader, held
        self._slides: dict[int, Slide] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def read(self, corners: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read patches at the level-0 corners (x, y), ``[n, 2]``.

        Returns:
            Pixels ``[n, out_px, out_px, 3]``, and which of the patches could be read; the
            pixels of the others mean nothing.
        """
        if self._stopped:
            return np.empty((0, self.out_px, self.out_px, 3), np.uint8), np.zeros(
                len(corners), bool
            )
        pixels = np.zeros((len(corners), self.out_px, self.out_px, 3), np.uint8)
        readable = np.ones(len(corners), np.bool_)
        for row, (x, y) in enumerate(corners.tolist()):
            patch = None if self._stopped else self._read_or_retry(x, y)
            if patch is None:
                readable[row] = False
            else:
                pixels[row] = patch
        return pixels, readable

    def stop(self) -> None:
        """Read nothing more: whatever is still asked for counts as unreadable."""
        self._stopped = True

    def close(self) -> None:
        """Close the handles of all threads; none may be reading."""
        with self._lock:
            while self._slides:
                self._slides.popitem()[1].close()
        if self._held is not None:
            self._held.close()

    def _read_or_retry(self, x: int, y: int) -> NDArray[np.uint8] | None:
        for _ in range(2):
            try:
                return self._slide().read_patch(x, y, self.size_level0, self.out_px)
            except SlideError:
                self._forget()
        return None

    def _slide(self) -> Slide:
        thread = threading.get_ident()
        slide = self._slides.get(thread)
        if slide is None:
            slide = Slide(self.path, self._reader)
            with self._lock:
                self._slides[thread] = slide
        return slide

    def _forget(self) -> None:
        with self._lock:
            slide = self._slides.pop(threading.get_ident(), None)
        if slide is not None:
            slide.close()
