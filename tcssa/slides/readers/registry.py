"""Choice of the reader that opens a slide, by the file's content.

OpenSlide comes before all others but one, which takes only the TIFFs that OpenSlide misreads.

Plug-ins register an object with ``name``, ``accepts`` and ``open`` (see `protocol`) under the
entry-point group ``tcssa.readers``. One that is broken is reported and left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from tcssa.errors import SlideError, TcssaError, UnknownNameError, one_line
from tcssa.files.boundary import UnsoundError, reading, require_file
from tcssa.files.limits import SLIDE_PIXELS, SLIDE_SIDE
from tcssa.files.tiff import TIFF_MAGICS, require_8_bit_tiff, require_sound_tiff
from tcssa.reporter import Reporter
from tcssa.slides.readers.cucim_reader import CuCimReader
from tcssa.slides.readers.image_reader import ImageReader
from tcssa.slides.readers.openslide_reader import OpenSlideReader
from tcssa.slides.readers.protocol import SceneReader, SlideBackend, SlideReader, starts_with
from tcssa.slides.readers.tiff_reader import TiffReader
from tcssa.slides.readers.tiffslide_reader import TiffSlideReader
from tcssa.slides.readers.zarr_reader import ZarrReader

GROUP = "tcssa.readers"
_FIRST: tuple[SlideReader, ...] = (TiffReader(), OpenSlideReader())
_LAST: tuple[SlideReader, ...] = (ZarrReader(), TiffSlideReader(), ImageReader(), CuCimReader())


@dataclass(frozen=True)
class Readers:
    """All readers in the order in which they are asked, and the faults of broken plug-ins."""

    readers: tuple[SlideReader, ...]
    faults: tuple[str, ...]


@cache
def all_readers() -> Readers:
    """Find our readers and those of plug-ins, once per process."""
    plugins: list[SlideReader] = []
    faults: list[str] = []
    taken = {reader.name for reader in (*_FIRST, *_LAST)}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            reader = _loaded(point)
            if reader.name in taken:
                raise ValueError(f"there is a reader called {reader.name!r} already")
        except Exception as error:  # a stranger's code: whatever it raises is its fault alone
            owner = point.dist.name if point.dist else point.value
            faults.append(
                f"the reader plug-in {point.name!r} of {owner} is left out: {_line(error)}"
            )
            continue
        taken.add(reader.name)
        plugins.append(reader)
    return Readers((*_FIRST, *plugins, *_LAST), tuple(faults))


def reader_named(name: str) -> SlideReader:
    """Return the reader of this name.

    Raises:
        UnknownNameError: No reader has this name.
    """
    by_name = {reader.name: reader for reader in all_readers().readers}
    if name not in by_name:
        raise UnknownNameError("reader", name, by_name)
    return by_name[name]


def check_readers(name: str | None, reporter: Reporter) -> None:
    """Check before a run that a reader exists, and warn of broken plug-ins.

    Args:
        name: Name of the reader; None if it is chosen by the content.
        reporter: Receives the warnings.

    Raises:
        UnknownNameError: No reader has this name.
    """
    for fault in all_readers().faults:
        reporter.warn(fault)
    if name is not None:
        reader_named(name)


def open_backend(path: Path, reader: str | None = None, scene: int | None = None) -> SlideBackend:
    """Open a slide with the reader that suits its content.

    Args:
        path: A file, or a folder for formats whose slides are folders.
        reader: Name of the reader to use regardless of the content.
        scene: Which picture of a file that holds several, from 0; None leaves it to the reader.

    Raises:
        SlideError: The slide is missing, damaged, or in no format that a reader knows.
        MissingExtraError: The reader needs a package that is not installed.
        UnknownNameError: No reader has that name.
    """
    with reading(path, SlideError):
        is_folder = path.is_dir()
        if is_folder:
            next(path.iterdir(), None)  # it may not be read
    if not is_folder:
        require_file(path, SlideError)
        with reading(path, SlideError):
            is_tiff = starts_with(path, *TIFF_MAGICS)
        if is_tiff:
            require_sound_tiff(path, SlideError)
            require_8_bit_tiff(path, SlideError)
    chosen = reader_named(reader) if reader else _accepting(path)
    with reading(path, SlideError):
        backend = _opened(chosen, path, scene)
        try:
            _require_sane_levels(path, backend)
        except Exception:
            backend.close()
            raise
    return backend


def _opened(reader: SlideReader, path: Path, scene: int | None) -> SlideBackend:
    if isinstance(reader, SceneReader):
        return reader.open_scene(path, scene)
    if scene:
        raise SlideError(
            path,
            f"has no scene {scene}: the reader {reader.name} sees one picture in it",
            hint="leave --scene out",
        )
    return reader.open(path)


def _require_sane_levels(path: Path, backend: SlideBackend) -> None:
    """Require levels that a slide can have: work and memory are planned by their sizes.

    Raises:
        SlideError: A level is too large.
        UnsoundError: There is no level, or the number, size or scale of levels is invalid.
    """
    sizes, downsamples = backend.level_dimensions, backend.level_downsamples
    if not 1 <= len(sizes) == len(downsamples):
        raise UnsoundError(f"it has {len(sizes)} levels and {len(downsamples)} scales of levels")
    for (width, height), downsample in zip(sizes, downsamples, strict=True):
        if not (min(width, height) >= 1 and 0 < downsample < math.inf):
            raise UnsoundError(f"a level is {width} x {height} at a scale of {downsample:g}")
        SLIDE_SIDE.require(max(width, height), path, SlideError)
        SLIDE_PIXELS.require(width * height, path, SlideError)


def _loaded(point: EntryPoint) -> SlideReader:
    reader = point.load()
    missing = [part for part in ("name", "accepts", "open") if not hasattr(reader, part)]
    if missing:
        raise TypeError(f"it has no {', '.join(missing)}")
    found: SlideReader = reader
    return found


def _accepting(path: Path) -> SlideReader:
    known = all_readers()
    for reader in known.readers:
        try:
            accepted = reader.accepts(path)
        except (TcssaError, MemoryError):
            raise
        except Exception as error:  # decoders and plug-ins have no common type of error
            reason = (
                f"the reader {reader.name} fails to tell whether it is a slide ({_line(error)})"
            )
            raise SlideError(path, reason, hint="name another one with --reader") from None
        if accepted:
            return reader
    if path.is_dir():
        raise SlideError(
            path, "is a folder, not a slide", hint="folders are slides in OME-Zarr and DICOM alone"
        )
    if path.stat().st_size == 0:
        raise SlideError(path, "is empty: 0 bytes", hint="copy it again")
    raise SlideError(
        path,
        "is no slide that any reader knows, or the file is cut short "
        f"(asked: {_names(known.readers)}{''.join(f'; {fault}' for fault in known.faults)})",
        hint="compare its size with the original, or copy it again",
    )


def _names(readers: Sequence[SlideReader]) -> str:
    return ", ".join(reader.name for reader in readers)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
