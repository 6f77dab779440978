"""TIFFs that other readers misread: OME-TIFF, several pictures in one file, flat ones too large.

Tiles and strips are decoded one by one, so memory is bounded whatever the size of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.files.boundary import reading
from tcssa.files.limits import TILE_BYTES
from tcssa.files.tiff import TIFF_MAGICS
from tcssa.files.tiff_pages import TiffPage, TiffPieces
from tcssa.slides.readers.protocol import starts_with, white_outside
from tcssa.slides.readers.scenes import choose_scene
from tcssa.slides.readers.tiff_layout import Picture, is_misread, pages_of, pictures

_PLAIN = (None, "generic-tiff")
"""What OpenSlide calls a TIFF of no scanner that it knows."""
_EARNED_BYTES_A_BYTE, _MOST_PIECE_BYTES = 200, 2**30


class TiffReader:
    """See `SceneReader`."""

    name = "tiff"

    def accepts(self, path: Path) -> bool:
        """See `SlideReader.accepts`: plain TIFFs alone, and of these what others misread."""
        if not starts_with(path, *TIFF_MAGICS):
            return False
        if openslide.OpenSlide.detect_format(str(path)) not in _PLAIN:
            return False
        return is_misread(_pages(path), path.stat().st_size)

    def open(self, path: Path) -> TiffBackend:
        """See `SlideReader.open`."""
        return self.open_scene(path, None)

    def open_scene(self, path: Path, scene: int | None) -> TiffBackend:
        """See `SceneReader.open_scene`: scenes are OME's images, focal planes, or pages."""
        with reading(path, SlideError):
            found = pictures(_pages(path))
        chosen, remarks = choose_scene(path, [picture.scene for picture in found], scene)
        picture = found[chosen]
        if picture.fault:
            raise SlideError(path, picture.fault, hint="convert it to a picture in RGB")
        earned = min(_EARNED_BYTES_A_BYTE * path.stat().st_size, _MOST_PIECE_BYTES)
        for level in picture.levels:
            for page in level:
                if reason := page.why_unread():
                    hint = "convert it, or name another reader: --reader tiffslide reads more kinds"
                    raise SlideError(path, reason, hint=hint)
                TILE_BYTES.require(page.piece_bytes, path, SlideError, earned=earned)
        return TiffBackend(path, picture, remarks)


class TiffBackend:
    """See `SlideBackend`."""

    is_shareable = True
    objective_power: float | None = None

    def __init__(self, path: Path, picture: Picture, remarks: tuple[str, ...]) -> None:
        self._pieces, self._levels = TiffPieces(path), picture.levels
        self.mpp, self.remarks = picture.mpp, remarks
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(
            level[0].size for level in picture.levels
        )
        width, height = self.level_dimensions[0]
        self.level_downsamples: tuple[float, ...] = tuple(
            (width / own_width + height / own_height) / 2
            for own_width, own_height in self.level_dimensions
        )

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `SlideBackend.read_region`; to the nearest pixel of the level."""
        downsample, pages = self.level_downsamples[level], self._levels[level]

        def read(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
            """See `white_outside`."""
            return _rgb([page.read(self._pieces, x0, y0, x1, y1) for page in pages])

        left, top = round(x / downsample), round(y / downsample)
        return white_outside(left, top, width, height, self.level_dimensions[level], read)

    def close(self) -> None:
        """See `SlideBackend.close`."""
        self._pieces.close()


def _rgb(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put the channels of pages together as RGB; a grey page is as grey in all, alpha is white."""
    pixels = parts[0]
    if len(parts) == 3:
        return np.concatenate(parts, axis=2)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    share = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * share + 255 * (1 - share)).astype(np.uint8)


def _pages(path: Path) -> tuple[TiffPage, ...]:
    status = path.stat()
    return pages_of(path, status.st_mtime_ns, status.st_size)
