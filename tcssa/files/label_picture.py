"""Pictures whose values are labels, read as they are stored: at any depth, in any colour.

Of deeper colours Pillow keeps the higher 8 bits, and it knows no doubles and no signed colours.
Those are decoded by OpenCV. It passes over damage without a word, so Pillow decodes first, for its
checks; of a TIFF that Pillow does not know only pixels that are not compressed are read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.label_rule import LabelRule
from tcssa.files.limits import PICTURE_PIXELS
from tcssa.files.picture import DEEP_GREYS, bits_of, blocks_of, open_picture
from tcssa.files.tiff import TIFF_MAGICS, require_sound_tiff

_LESSER_PAGE, _WIDTH, _HEIGHT, _MEANING, _SAMPLES, _EXTRA, _FORMAT = (
    254, 256, 257, 262, 277, 338, 339
)  # fmt: skip
_BITS, _COMPRESSION, _PLACES, _LENGTHS = 258, 259, (273, 324), (279, 325)
_DEFLATED, _PILLOW_LOOKS_BITS = (8, 32946), 8
_UNCOMPRESSED, _WHITE_IS_ZERO, _SIGNED = 1, 0, 2
_DECODED = (1, 5, 8, 32773, 32946)
"""Compressions of a TIFF that OpenCV knows at all depths: none, LZW, deflate and PackBits."""
_COLOURS = (1, 3, 4)
"""Numbers of channels that are greys or colours."""
_COPY_HINT = "compare its size with the original, or copy it again"

Block = tuple[slice, slice]
"""Rows and columns of a part of a picture."""


@dataclass(frozen=True, eq=False)
class LabelPicture:
    """The pixels of a picture that have a label.

    Attributes:
        inside: True where they have one other than the background's, ``[h, w]``.
        corner: Value of the upper left pixel, as ``0`` or ``255,255,255``.
        remarks: What could be read in another way as well.
    """

    inside: NDArray[np.bool_]
    corner: str
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Stored:
    """A picture's size ``(h, w)``, and what is stored in it, part by part.

    The parts hold values ``[h, w, c]``, and True where they are transparent ``[h, w]`` if any may
    be. Where the picture has a palette, with colours ``[n, 3]``, the values are its indexes.
    """

    shape: tuple[int, int]
    parts: Iterator[tuple[Block, NDArray[Any], NDArray[np.bool_] | None]]
    palette: NDArray[np.uint8] | None = None
    remarks: list[str] = field(default_factory=list)


def read_labels(
    path: Path,
    error: type[FileError],
    *,
    background: Sequence[str] = (),
    chosen: Sequence[str] = (),
) -> LabelPicture:
    """Read where a picture has labels.

    A pixel has one where any channel is above 0 and it is not transparent. Of a palette, index 0 is
    the background, and so are the indexes of the same colour.

    Args:
        path: A PNG, JPEG, BMP or TIFF. Grey pages of a TIFF that have one size are its channels.
        error: Type of the error to raise.
        background: Labels of the background in place of that, as ``255`` or ``255,255,255``.
        chosen: Labels that count, written likewise; none for all but the background.

    Raises:
        FileError: Of the type ``error``; the file is no such picture, is damaged, claims more
            pixels than the limit, has channels that are no colours, or a label has not as many
            numbers as the picture has channels.
    """
    with ExitStack() as held:
        image = _opened(path, error, held)
        with reading(path, error, hint=_COPY_HINT):
            is_plain = not background and not chosen
            stored = _stored(image, path, error, is_plain=is_plain)
            rule = LabelRule(background, chosen, stored.palette)
            inside, corner = np.empty(stored.shape, np.bool_), ""
            for block, values, transparent in stored.parts:
                corner = corner or ",".join(f"{value:g}" for value in values[0, 0].tolist())
                inside[block] = rule.inside(values, transparent)
    return LabelPicture(inside, corner, [*stored.remarks, *rule.doubts()])


def _opened(path: Path, error: type[FileError], held: ExitStack) -> ImageFile | None:
    """Open a picture by Pillow; None of a sound TIFF that Pillow does not know."""
    try:
        return held.enter_context(open_picture(path, error))
    except FileError:
        with reading(path, error), path.open("rb") as stream:
            is_tiff = stream.read(4) in TIFF_MAGICS
        if not is_tiff:
            raise
        require_sound_tiff(path, error)
        with reading(path, error):
            tags = _first_directory(path)
            width, height, samples = tags[_WIDTH], tags[_HEIGHT], tags.get(_SAMPLES, 1)
            num_bytes = width * height * samples * max(tags.get(_BITS, (1,))) // 8
            stored = max(sum(tags.get(lengths, (0,))) for lengths in _LENGTHS)
        PICTURE_PIXELS.require(width * height, path, error)
        if samples not in _COLOURS:
            raise _no_colours(path, error, samples) from None
        if tags.get(_COMPRESSION, 1) != _UNCOMPRESSED or stored < num_bytes:
            raise
        return None


def _first_directory(path: Path) -> ImageFileDirectory_v2:
    """Read the tags of the first picture of a sound TIFF."""
    with path.open("rb") as stream:
        head = stream.read(8)
        is_big = head[2:4] in (b"+\0", b"\0+")
        tags = ImageFileDirectory_v2(head + (stream.read(8) if is_big else b""))
        stream.seek(tags.next)
        tags.load(stream)
    return tags


def _no_colours(path: Path, error: type[FileError], samples: int) -> FileError:
    return error(
        path,
        f"has {samples} channels, which are no colours",
        hint="save it with one label a pixel, or with a page for each channel",
    )


def _stored(
    image: ImageFile | None, path: Path, error: type[FileError], *, is_plain: bool
) -> _Stored:
    if image is None:
        return _by_opencv(path)
    if isinstance(image, TiffImageFile):
        _require_inflated(image, path)
        samples = image.tag_v2.get(_SAMPLES, 1)
        is_signed = _SIGNED in image.tag_v2.get(_FORMAT, (1,))
        if samples == 4 and image.mode != "CMYK" and not {1, 2} & {*image.tag_v2.get(_EXTRA, ())}:
            return _by_opencv(path, image)
        if samples != len(image.getbands()):
            raise _no_colours(path, error, samples)
        is_white = image.tag_v2.get(_MEANING) == _WHITE_IS_ZERO and image.mode in ("1", "L")
        if is_plain and is_white:
            raise _two_readings(image, path, error)
        pages = _pages_of_one_size(image)
        if len(pages) > 1:
            return _of_pages(image, pages, path, error)
        if is_signed and image.mode == "L":
            return _by_opencv(path, image)
    if bits_of(image) > 8 and image.mode not in DEEP_GREYS:
        return _by_opencv(path, image, has_alpha=image.mode in ("RGBA", "LA"))
    if image.format == "JPEG" and is_plain:
        image.draft("L", image.size)  # brightness alone: black is never quite black in colour
    image.load()
    palette = None
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return _Stored((image.height, image.width), _parts_of(image), palette)


def _require_inflated(image: TiffImageFile, path: Path) -> None:
    """Require that deeper pixels can be inflated to their end: Pillow does not look.

    Raises:
        UnsoundError: A tile or strip is damaged.
    """
    tags = image.tag_v2
    if tags.get(_COMPRESSION) not in _DEFLATED or bits_of(image) == _PILLOW_LOOKS_BITS:
        return
    most = image.width * image.height * 8 * tags.get(_SAMPLES, 1) + 1
    with path.open("rb") as stream:
        for places, lengths in zip(_PLACES, _LENGTHS, strict=True):
            for place, length in zip(tags.get(places, ()), tags.get(lengths, ()), strict=True):
                stream.seek(place)
                inflating = zlib.decompressobj()
                try:
                    inflating.decompress(stream.read(length), most)
                except zlib.error:
                    raise UnsoundError("a tile or strip is damaged") from None
                if length and not inflating.eof:
                    raise UnsoundError("a tile or strip is cut short")


def _two_readings(image: TiffImageFile, path: Path, error: type[FileError]) -> FileError:
    """Refuse zeros that are white: tissue is what is not 0, or what is not black."""
    image.load()
    white = 1 if image.mode == "1" else 255
    num_white, num_all = int((np.asarray(image) == white).sum()), image.width * image.height
    return error(
        path,
        f"stores white as 0: its labels are the {num_all - num_white:,} pixels that are not 0, or "
        f"the {num_white:,} that are white",
        hint=f"say which are glass: --mask-background {white} (white) or --mask-background 0",
    )


def _parts_of(
    image: ImageFile,
) -> Iterator[tuple[Block, NDArray[Any], NDArray[np.bool_] | None]]:
    for left, top, right, bottom in blocks_of(image):
        block: Image.Image = image.crop((left, top, right, bottom))
        transparent = None
        if image.mode in ("RGBA", "LA", "PA") or (
            "transparency" in image.info and image.mode not in DEEP_GREYS
        ):
            transparent = np.asarray(block.convert("RGBA"))[..., 3] == 0
        if image.mode not in ("1", "L", "LA", "P", *DEEP_GREYS):
            block = block.convert("RGB")
        values = np.asarray(block).reshape(bottom - top, right - left, -1)
        if image.mode == "LA":
            values = values[..., :1]
        yield (slice(top, bottom), slice(left, right)), values, transparent


def _by_opencv(path: Path, image: ImageFile | None = None, *, has_alpha: bool = False) -> _Stored:
    """Decode a picture by OpenCV, one that Pillow knows after Pillow has found no damage."""
    if image is not None:
        image.load()
    if isinstance(image, TiffImageFile):
        compression = image.tag_v2.get(_COMPRESSION, 1)
        if compression not in _DECODED:
            raise UnsoundError(f"is a TIFF of labels with the compression {compression}")
    content = np.frombuffer(path.read_bytes(), np.uint8)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        decoded: NDArray[Any] | None = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None:
        raise UnsoundError("is damaged, or of a kind that is not read")
    values = decoded.reshape(*decoded.shape[:2], -1)
    values = values[..., [2, 1, 0, 3][: values.shape[2]]] if values.shape[2] > 1 else values
    transparent = None
    if has_alpha:
        values, transparent = values[..., :3], values[..., 3] == 0
    return _whole(values, transparent)


def _pages_of_one_size(image: TiffImageFile) -> list[int]:
    """List the grey pages that are as large as the first, which is one of them."""
    size, mode, pages = image.size, image.mode, [0]
    for page in range(1, image.n_frames):
        image.seek(page)
        is_lesser = bool(image.tag_v2.get(_LESSER_PAGE, 0) & 1)
        if image.size == size and image.mode == mode and not is_lesser:
            pages.append(page)
    image.seek(0)
    return pages if mode in ("1", "L", *DEEP_GREYS) else [0]


def _of_pages(
    image: TiffImageFile, pages: Sequence[int], path: Path, error: type[FileError]
) -> _Stored:
    PICTURE_PIXELS.require(image.width * image.height * len(pages), path, error)
    channels = []
    for page in pages:
        image.seek(page)
        _require_inflated(image, path)
        channels.append(np.array(image))
    remark = f"its {len(pages)} pages of one size are taken for channels of one picture"
    return _whole(np.stack(channels, axis=2), None, remark)


def _whole(values: NDArray[Any], transparent: NDArray[np.bool_] | None, *remarks: str) -> _Stored:
    everywhere = (slice(None), slice(None))
    return _Stored(values.shape[:2], iter([(everywhere, values, transparent)]), None, [*remarks])
