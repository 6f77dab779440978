"""Pictures that are decoded whole: masks, thumbnails, and slides that are plain images.

The header tells how many pixels there are before one is decoded. Whatever Pillow takes for damaged
or cut short is an error, and so is a PNG chunk of a wrong checksum, which Pillow ignores.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading, require_file
from tcssa.files.limits import PICTURE_PIXELS
from tcssa.files.tiff import TIFF_MAGICS, require_sound_tiff

_KINDS: dict[bytes, type[ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"BM": BmpImageFile,
    **dict.fromkeys(TIFF_MAGICS, TiffImageFile),
}
PICTURE_MAGICS = tuple(_KINDS)
"""First bytes of what is read here: PNG, JPEG, BMP, TIFF."""
_PIXELS_A_BYTE = 50
_MOST_PIXELS = 178_956_970
"""Pillow's own bound; only the variable of `PICTURE_PIXELS` goes beyond it."""
_BLOCK_PX = 2048
_TIFF_BITS = 258
DEEP_GREYS = ("I", "I;16", "I;16B", "I;16L", "F")
"""Pillow's modes of greys of more than 8 bits, which it keeps whole."""
_JPEG_SCAN, _MAX_SCANS = b"\xff\xda", 200
"""Each scan goes over all pixels again, however few bytes it has; encoders write ten or so."""
_COPY_HINT = "compare its size with the original, or copy it again"


def held_pixels(num_bytes: int) -> int:
    """Return how many pixels a picture may have for the bytes of its file, and be held whole."""
    return min(_PIXELS_A_BYTE * num_bytes, _MOST_PIXELS)


@contextmanager
def open_picture(path: Path, error: type[FileError]) -> Iterator[ImageFile]:
    """Open a picture whose pixels may be decoded in the block.

    Args:
        path: A PNG, JPEG, BMP or TIFF; of a TIFF the first page is opened.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the file is no such picture, is damaged, or claims more
            pixels than the limit.
    """
    num_bytes = require_file(path, error)
    with reading(path, error, hint=_COPY_HINT):
        kind = _kind_of(path)
        if kind is TiffImageFile:
            require_sound_tiff(path, error)
    with reading(path, error, hint=_COPY_HINT), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's doubts about metadata that is not used here
        with kind(path) as image:
            width, height = image.size
            earned = held_pixels(num_bytes)
            PICTURE_PIXELS.require(width * height, path, error, earned=earned)
            if kind is PngImageFile:
                image.verify()  # of checksums; the file is closed by it
        with kind(path) as image:
            yield image


def read_rgb(path: Path, error: type[FileError]) -> NDArray[np.uint8]:
    """Read a picture as RGB ``[h, w, 3]``; what is transparent becomes white.

    Args:
        path: See `open_picture`.
        error: Type of the error to raise.

    Raises:
        FileError: See `open_picture`; or the picture has more than 8 bits a colour.
    """
    with open_picture(path, error) as image:
        return rgb_of(image, path, error)


def rgb_of(image: ImageFile, path: Path, error: type[FileError]) -> NDArray[np.uint8]:
    """Decode an open picture into RGB ``[h, w, 3]``; what is transparent becomes white.

    Args:
        image: The picture, as `open_picture` yields it.
        path: Its file, named in errors.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the picture has more than 8 bits a colour.
    """
    _require_8_bits(image, path, error)
    image.load()
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for left, top, right, bottom in blocks_of(image):  # Pillow holds four bytes a pixel, and copies
        block = image.crop((left, top, right, bottom))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            over = Image.new("RGBA", block.size, (255, 255, 255, 255))
            over.alpha_composite(block.convert("RGBA"))
            block = over
        pixels[top:bottom, left:right] = np.asarray(block.convert("RGB"))
    return pixels


def _require_8_bits(image: ImageFile, path: Path, error: type[FileError]) -> None:
    """Require at most 8 bits a colour: of more, Pillow silently keeps the higher 8."""
    if bits_of(image) > 8 or image.mode in DEEP_GREYS:
        raise error(
            path,
            f"its pixels, of mode {image.mode!r}, have more than 8 bits a colour",
            hint="convert it to 8 bits a colour",
        )


def bits_of(image: ImageFile) -> int:
    """Return the bits of a colour as they are stored; at least 8."""
    if isinstance(image, TiffImageFile):
        bits: tuple[int, ...] = image.tag_v2.get(_TIFF_BITS, (1,))
        return max(8, *bits)
    is_deep = isinstance(image, PngImageFile) and image.tile and "16" in str(image.tile[0].args)
    return 16 if is_deep else 8


def _kind_of(path: Path) -> type[ImageFile]:
    content = path.read_bytes()
    for magic, kind in _KINDS.items():
        if content.startswith(magic):
            if kind is JpegImageFile and content.count(_JPEG_SCAN) > _MAX_SCANS:
                raise UnsoundError(f"is a JPEG of more than {_MAX_SCANS} scans")
            return kind
    raise UnsoundError("is not a readable picture: no PNG, JPEG, BMP or TIFF")


def blocks_of(image: ImageFile) -> Iterator[tuple[int, int, int, int]]:
    """Yield left, top, right and bottom of blocks that together are the picture."""
    for top in range(0, image.height, _BLOCK_PX):
        for left in range(0, image.width, _BLOCK_PX):
            yield left, top, min(left + _BLOCK_PX, image.width), min(top + _BLOCK_PX, image.height)
