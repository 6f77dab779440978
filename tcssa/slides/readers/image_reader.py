"""Plain images through Pillow: PNG, JPEG, BMP and flat TIFF, one level each.

Such files cannot be read in pieces: the whole picture is held, three bytes a pixel, once for
all threads that have it open.
"""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcssa.errors import SlideError
from tcssa.slides.readers.protocol import TIFF_MAGICS, starts_with, white_outside
from tcssa.slides.readers.tiff_directories import is_whole_tiff

_MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", *TIFF_MAGICS)
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")
"""What becomes 8-bit RGB without guessing; 16-bit and float pixels do not."""
_TILE_WIDTH = 322
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_UM_OF_UNIT = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre


class ImageReader:
    """See `SlideReader`."""

    name = "image"

    def accepts(self, path: Path) -> bool:
        """See `SlideReader.accepts`."""
        return starts_with(path, *_MAGICS)

    def open(self, path: Path) -> ImageBackend:
        """See `SlideReader.open`."""
        return ImageBackend(_shared_picture(path))


class _Picture:
    """A decoded picture ``[h, w, 3]``, and its resolution where a TIFF states it."""

    def __init__(self, path: Path) -> None:
        with _opened(path) as image:
            if image.mode not in _MODES:
                raise SlideError(
                    path,
                    f"its pixels are of mode {image.mode!r}, not 8-bit colour",
                    hint="convert it to 8-bit RGB",
                )
            self.mpp = _tiff_mpp(path, image) if image.format == "TIFF" else None
            try:
                self.pixels = _rgb(image)
            except (OSError, SyntaxError, ValueError) as error:  # a PNG's fault is a SyntaxError
                raise SlideError(
                    path,
                    f"the image cannot be decoded ({' '.join(str(error).split())})",
                    hint="compare its size with the original, or copy it again",
                ) from None


_pictures: WeakValueDictionary[tuple[Path, int, int], _Picture] = WeakValueDictionary()
_decoding = threading.Lock()


def _shared_picture(path: Path) -> _Picture:
    """Each reading thread opens the slide for itself; the pixels are decoded and held once."""
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


def _opened(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns from half of what it refuses; what it accepts is held, as documented
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=_FORMATS)
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise SlideError(
            path,
            f"the image has more than {most // 10**6} million pixels and would be held whole",
            hint="convert it to a tiled TIFF, which is read in pieces",
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        reason = " ".join(str(error).split()).replace(str(path), "it")
        raise SlideError(
            path,
            f"is no image that Pillow can read, or the file is cut short ({reason})",
            hint="compare its size with the original, or copy it again",
        ) from None


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        over = Image.new("RGBA", image.size, (255, 255, 255, 255))
        over.alpha_composite(image.convert("RGBA"))
        image = over
    pixels = np.array(image.convert("RGB"))
    pixels.flags.writeable = False  # threads share it
    return pixels


def _tiff_mpp(path: Path, image: Image.Image) -> tuple[float, float] | None:
    """The resolution of a TIFF, if it is flat and whole.

    Raises:
        SlideError: It is cut short, or tiled: a slide that no other reader took is no picture.
    """
    tags = image.getexif()
    if not is_whole_tiff(path):
        raise SlideError(
            path,
            "is a TIFF that is cut short",
            hint="compare its size with the original, or copy it again",
        )
    if _TILE_WIDTH in tags:
        raise SlideError(
            path,
            "is a tiled TIFF of a kind that no reader knows",
            hint="pip install 'tcssa[tiffslide]' reads more kinds, or convert it",
        )
    unit = _UM_OF_UNIT.get(tags.get(_RESOLUTION_UNIT, 2))
    x, y = (float(tags.get(tag, 0) or 0) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    if unit is None or not (x > 0 and y > 0):
        return None
    return unit / x, unit / y
