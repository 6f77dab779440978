"""Protocol of slide readers, which plug-ins implement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class SlideBackend(Protocol):
    """One open slide.

    It is used by one thread at a time; several of one file may be open at once, each in a thread
    of its own. One whose attribute ``is_shareable`` is True may be used by several threads at once.
    One of a slide that was scanned in part may have ``bounds``, the left, top, width and height of
    that part in level-0 pixels.
    Levels are ordered from the finest, level 0. What it says in an attribute ``remarks``, a tuple
    of texts, is told to the user, such as pictures of the file that are not read.
    """

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each level; the first is the slide's."""

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """Level-0 pixels per pixel of each level; the first is 1."""

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Level-0 µm per pixel along x and y, None if the file does not state it."""

    @property
    def objective_power(self) -> float | None:
        """Magnification of the objective, None if the file does not state it."""

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region of a level.

        Args:
            x: Left edge, in *level-0* pixels; may lie outside the slide, as may ``y``.
            y: Top edge, in *level-0* pixels.
            level: The level to read.
            width: Width of the region, in pixels of that level.
            height: Height of the region, in pixels of that level.

        Returns:
            RGB pixels ``[height, width, 3]`` or RGBA pixels ``[height, width, 4]``; white or
            transparent outside the slide. RGBA is laid over white.

        Raises:
            Exception: The region cannot be decoded. Whatever is raised counts as damage at this
                place; the file is then opened again before the next read.
        """

    def close(self) -> None:
        """Close the file; nothing is read afterwards."""


class SlideReader(Protocol):
    """Reader of one family of formats."""

    @property
    def name(self) -> str:
        """Name that ``--reader`` takes."""

    def accepts(self, path: Path) -> bool:
        """Tell, from the content of a file or folder, whether its format can be read."""

    def open(self, path: Path) -> SlideBackend:
        """Open a slide.

        Raises:
            TcssaError: The slide cannot be opened; any other error is reported as the reader's own.
        """


@runtime_checkable
class SceneReader(SlideReader, Protocol):
    """Reader of formats whose files hold several pictures."""

    def open_scene(self, path: Path, scene: int | None) -> SlideBackend:
        """Open one picture of a file.

        Args:
            path: The slide.
            scene: Index of the picture, from 0; None takes the largest.

        Raises:
            TcssaError: The slide cannot be opened, or has no such picture.
        """


def starts_with(path: Path, *magics: bytes, at: int = 0) -> bool:
    """Tell whether a file holds one of several byte strings at an offset.

    Args:
        path: The file; a folder holds none.
        *magics: The byte strings.
        at: Offset from the beginning of the file, in bytes.
    """
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
    """Read a window of a level: only what lies within the level is read, the rest is white.

    Args:
        left: Left edge of the window, in pixels of the level; may be negative, as may ``top``.
        top: Top edge of the window, in pixels of the level.
        width: Width of the window, in pixels of the level.
        height: Height of the window, in pixels of the level.
        size: Width and height of the level.
        read: Takes left, top, right and bottom within the level, and returns the RGB pixels there.

    Returns:
        RGB pixels, ``[height, width, 3]``.
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
