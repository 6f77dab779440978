"""What a reader of slides must be able to do; plug-ins are written to this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SlideBackend(Protocol):
    """One open slide.

    It is used by one thread at a time; several of one file may be open at once, each in a thread
    of its own. One that has an attribute ``is_shareable``, True, may be used by several threads at
    once. Levels are ordered from the finest, level 0.
    """

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each level; the first is the slide's."""

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """Level-0 pixels a pixel of each level; the first is 1."""

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Level-0 µm per pixel along x and y, None where the file does not say."""

    @property
    def objective_power(self) -> float | None:
        """Magnification of the objective, None where the file does not say."""

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """Pixels of a level, ``[height, width, 3]`` RGB or ``[height, width, 4]`` RGBA.

        Args:
            x: Left edge, in *level-0* pixels; may lie outside of the slide, as may ``y``.
            y: Top edge, in level-0 pixels.
            level: The level to read.
            width: Pixels of that level.
            height: Pixels of that level.

        Returns:
            The pixels; outside of the slide white, or transparent. RGBA is laid over white.

        Raises:
            Exception: What was asked for cannot be decoded. Whatever is raised counts as damage at
                this place; the file is then opened again before the next read.
        """

    def close(self) -> None:
        """Free the file; nothing is read after it."""


class SlideReader(Protocol):
    """What opens one family of formats."""

    @property
    def name(self) -> str:
        """What ``--reader`` calls it."""

    def accepts(self, path: Path) -> bool:
        """Whether the content of a file or folder is of a format that it reads."""

    def open(self, path: Path) -> SlideBackend:
        """Open a slide.

        Raises:
            TcssaError: It cannot be opened; any other error is told as the reader's own.
        """


def starts_with(path: Path, *magics: bytes, at: int = 0) -> bool:
    """Whether a file has one of these bytes at a place; False for a folder."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        stream.seek(at)
        head = stream.read(max(map(len, magics)))
    return any(head.startswith(magic) for magic in magics)


def white_outside(
    left: int,
    top: int,
    width: int,
    height: int,
    size: tuple[int, int],
    read: Callable[[int, int, int, int], NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """A window of a level where only what lies within the level is read; the rest is white.

    Args:
        left: Of the window, in the level's own pixels; may be negative, as may ``top``.
        top: Of the window.
        width: Of the window.
        height: Of the window.
        size: Width and height of the level.
        read: Given left, top, right and bottom within the level, the RGB pixels there.
    """
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, size[0]), min(top + height, size[1])
    if x0 >= x1 or y0 >= y1:
        return np.full((height, width, 3), 255, np.uint8)
    inside = read(x0, y0, x1, y1)
    if inside.shape[:2] == (height, width):
        return inside
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[y0 - top : y1 - top, x0 - left : x1 - left] = inside[..., :3]
    return pixels
