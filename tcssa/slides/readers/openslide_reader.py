"""OpenSlide: Aperio, Hamamatsu, Leica, Mirax, Ventana, Zeiss, DICOM, tiled TIFF and others.

Its libraries abort the process where memory runs out. So a plain TIFF, whose tiles were measured
(`tcssa.files.tiff`), is opened directly, and any other slide first in a separate process. A handle
remembers an error and refuses everything after it. A DICOM slide is many files in one folder;
OpenSlide is given one and finds the others, so a folder stands for its first one.
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from tcssa.errors import SlideError
from tcssa.files.dicom import dicom_series
from tcssa.files.limits import TILE_SIDE
from tcssa.files.tiff import TIFF_MAGICS
from tcssa.slides.readers.openslide_worker import tile_sides
from tcssa.slides.readers.protocol import starts_with
from tcssa.slides.readers.trial import require_survived

_CACHE_BYTES = 256 * 2**20
_PLAIN_TIFF = ("aperio", "generic-tiff")
"""Formats that state the sizes of their tiles in the directories of a TIFF, and nowhere else."""
_FILES_BESIDE = ("dicom", "hamamatsu")
"""Formats of many files in one folder; Hamamatsu's NDPI, a TIFF, is one file."""


class OpenSlideReader:
    """See `SlideReader`."""

    name = "openslide"

    def accepts(self, path: Path) -> bool:
        """See `SlideReader.accepts`."""
        file = _file_of(path)
        return (
            file is not None
            and openslide.OpenSlide.detect_format(str(file)) is not None
            and not _lacks_compression(path, file)
        )

    def open(self, path: Path) -> OpenSlideBackend:
        """See `SlideReader.open`."""
        file = _file_of(path)
        if file is None:
            raise SlideError(path, "is a folder that holds no DICOM slide")
        try:
            handle = _handle_of(path, file)
        except openslide.OpenSlideUnsupportedFormatError:
            raise SlideError(
                path,
                "is no slide that OpenSlide can read, or the file is cut short",
                hint="compare its size with the original, or copy it again",
            ) from None
        with ExitStack() as held:
            held.enter_context(handle)
            for side in tile_sides(handle):
                TILE_SIDE.require(side, path, SlideError)
            backend = OpenSlideBackend(handle)
            held.pop_all()  # it stays open where nothing was raised
        return backend


class OpenSlideBackend:
    """See `SlideBackend`."""

    is_shareable = True

    def __init__(self, handle: openslide.OpenSlide) -> None:
        self._handle = handle
        # of its own 32 MB a tile of 4096 px does not even fit in, and is decoded for every patch
        handle.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
        self.level_dimensions: tuple[tuple[int, int], ...] = tuple(handle.level_dimensions)
        self.level_downsamples: tuple[float, ...] = tuple(handle.level_downsamples)

    @property
    def mpp(self) -> tuple[float, float] | None:
        """See `SlideBackend.mpp`."""
        mpp_x, mpp_y = self._number("openslide.mpp-x"), self._number("openslide.mpp-y")
        return None if mpp_x is None or mpp_y is None else (mpp_x, mpp_y)

    @property
    def objective_power(self) -> float | None:
        """See `SlideBackend.objective_power`."""
        return self._number("openslide.objective-power")

    @property
    def bounds(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of what was scanned, None if the file does not state it."""
        names = ("x", "y", "width", "height")
        found = [self._handle.properties.get(f"openslide.bounds-{name}", "") for name in names]
        if not all(text.isascii() and text.isdigit() for text in found):
            return None
        left, top, width, height = map(int, found)
        return left, top, width, height

    def read_region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `SlideBackend.read_region`; RGBA, transparent where nothing was scanned."""
        return np.asarray(self._handle.read_region((x, y), level, (width, height)))

    def close(self) -> None:
        """See `SlideBackend.close`."""
        self._handle.close()

    def _number(self, key: str) -> float | None:
        """Return a property as a positive number, None if it is absent or not such a number."""
        try:
            value = float(self._handle.properties.get(key, ""))
        except ValueError:
            return None
        return value if math.isfinite(value) and value > 0 else None


def _handle_of(path: Path, file: Path) -> openslide.OpenSlide:
    """Open a file of a slide, first in a separate process if that might end this one."""
    vendor = openslide.OpenSlide.detect_format(str(file))
    if vendor not in (None, *_PLAIN_TIFF):
        if vendor == "mirax":
            _require_files(path, file.with_suffix(""))
        elif vendor in _FILES_BESIDE and not starts_with(file, *TIFF_MAGICS):
            _require_files(path, file.parent)
        require_survived(file)
    return openslide.OpenSlide(str(file))


def _lacks_compression(path: Path, file: Path) -> bool:
    """Tell, by opening it, whether OpenSlide recognises a TIFF but cannot decode it."""
    if not starts_with(file, *TIFF_MAGICS):
        return False
    try:
        _handle_of(path, file).close()
    except openslide.OpenSlideError as error:
        return "Unsupported TIFF compression" in str(error)
    return False


def _require_files(path: Path, folder: Path) -> None:
    """Require that no pipe lies where OpenSlide looks for a slide's other files: it would wait.

    Raises:
        SlideError: Something that is neither a file nor a folder lies there.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.is_file() or entry.is_dir()) and Path(entry).exists():
                reason = f"beside it lies {entry.name}, which is no regular file"
                raise SlideError(path, reason, hint="take it away")


def _file_of(path: Path) -> Path | None:
    """Return the file to give to OpenSlide: of a folder, the first file of its DICOM series.

    Raises:
        SlideError: The folder holds several series, which are several slides.
    """
    if not path.is_dir():
        return path
    series = dicom_series(sorted(path.iterdir()))
    if len(series) > 1:
        firsts = ", ".join(files[0].name for files in series.values())
        reason = f"is a folder of {len(series)} DICOM series, each a slide, beginning with {firsts}"
        raise SlideError(path, reason, hint="name one file of the series")
    return next((files[0] for files in series.values()), None)
