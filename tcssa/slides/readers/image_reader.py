"""Plain images through Pillow: PNG, JPEG, BMP and flat TIFF, one level each.

Such files cannot be read in pieces: the whole picture is held in memory, three bytes per pixel,
once for all threads that have it open.
"""

from __future__ import annotations

import threading
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from tcssa.errors import SlideError
from tcssa.files.picture import PICTURE_MAGICS, open_picture, rgb_of
from tcssa.files.tiff import TIFF_MAGICS
from tcssa.files.tiff_pages import COMPRESSIONS, compression_text, read_pages
from tcssa.slides.readers.protocol import starts_with, white_outside

_EXTRA_HINT = "pip install 'tcssa[tiffslide]' reads more kinds, or convert it"
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_UM_OF_UNIT = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre


class ImageReader:
    """See `SlideReader`."""

    name = "image"

    def accepts(self, path: Path) -> bool:
        """See `SlideReader.accepts`."""
        return starts_with(path, *PICTURE_MAGICS)

    def open(self, path: Path) -> ImageBackend:
        """See `SlideReader.open`."""
        if starts_with(path, *TIFF_MAGICS):
            _require_readable_tiff(path)
        return ImageBackend(_shared_picture(path))


class _Picture:
    """A decoded picture ``[h, w, 3]``, and its resolution where a TIFF states it."""

    def __init__(self, path: Path) -> None:
        with open_picture(path, SlideError) as image:
            self.mpp = _tiff_mpp(image) if image.format == "TIFF" else None
            self.pixels = rgb_of(image, path, SlideError)
        self.pixels.flags.writeable = False  # threads share it


_pictures: WeakValueDictionary[tuple[Path, int, int], _Picture] = WeakValueDictionary()
_decoding = threading.Lock()


def _shared_picture(path: Path) -> _Picture:
    """Return the picture of a file, decoded and held once for all threads that open it."""
    status = path.stat()
    key = (path.resolve(), status.st_mtime_ns, status.st_size)
    with _decoding:
        picture = _pictures.get(key)
        if picture is None:
            picture = _pictures[key] = _Picture(path)
        return picture


class ImageBackend:
    """See `SlideBackend`."""

    level_downsamples: tuple[float, ...] = (1.0,)
    objective_power: float | None = None

    def __init__(self, picture: _Picture) -> None:
        self._picture: _Picture | None = picture
        self.mpp: tuple[float, float] | None = picture.mpp
        height, width = picture.pixels.shape[:2]
        self.level_dimensions: tuple[tuple[int, int], ...] = ((width, height),)

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `SlideBackend.read_region`."""
        if self._picture is None:
            raise ValueError("the image is closed")
        pixels = self._picture.pixels
        size = self.level_dimensions[level]
        return white_outside(x, y, width, height, size, lambda x0, y0, x1, y1: pixels[y0:y1, x0:x1])

    def close(self) -> None:
        """See `SlideBackend.close`; the last one frees the pixels."""
        self._picture = None


def _require_readable_tiff(path: Path) -> None:
    """Require a flat TIFF in a compression that Pillow decodes.

    Raises:
        SlideError: It is tiled, so it is a slide that no other reader took, or is compressed
            otherwise.
    """
    page = read_pages(path)[0]
    if page.compression not in COMPRESSIONS:
        raise SlideError(path, compression_text(page.compression), hint=_EXTRA_HINT)
    if page.is_tiled:
        raise SlideError(path, "is a tiled TIFF of a kind that no reader knows", hint=_EXTRA_HINT)


def _tiff_mpp(image: ImageFile) -> tuple[float, float] | None:
    """Read the resolution of a flat TIFF, None if it states none."""
    tags = image.getexif()
    unit = _UM_OF_UNIT.get(tags.get(_RESOLUTION_UNIT, 2))
    x, y = (float(tags.get(tag, 0) or 0) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    if unit is None or not (x > 0 and y > 0):
        return None
    return unit / x, unit / y
