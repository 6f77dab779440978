"""Slides to read, from files, folders and manifests, with the resolutions that manifests state.

Manifests may use the column names common in the field: ``wsi,mpp`` (TRIDENT, AtlasPatch),
``sample_id,image_path,spacing_at_level_0`` (slide2vec), and others like them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Literal, Self

from tcssa.errors import MissingDataError, SlideError, TableError, UsageError
from tcssa.features.lazyslide_store import is_lazyslide
from tcssa.features.remote_features import is_features_address
from tcssa.features.tables import find_column, slide_name
from tcssa.files.boundary import is_folder, reading
from tcssa.files.checksums import fingerprint
from tcssa.files.remote_file import is_remote, local_path, plain_address
from tcssa.files.table import is_missing, number, read_table
from tcssa.reporter import Reporter, Silent
from tcssa.slides.finding import SLIDE_SUFFIXES, FoundSlide, is_slide_folder, search
from tcssa.slides.image.remote import SlideCache
from tcssa.slides.image.staging import Stage
from tcssa.slides.settings import MAX_MPP, MIN_MPP

_MOST_ID_BYTES = 240
"""Longest slide_id: names of files have at most 255 bytes, and ``_patches.h5`` is added to it."""

_PATH_COLUMNS = ("wsi", "image_path", "path", "slide", "filename")
_MPP_COLUMNS = ("mpp", "spacing_at_level_0")
_ID_COLUMNS = ("slide_id", "sample_id")


Names = Literal["file", "path"]


@dataclass(frozen=True)
class SlideFile:
    """A slide to read.

    Attributes:
        path: File of the slide, or its folder.
        slide_id: Name of the slide and of its features.
        mpp: Level-0 resolution in µm per pixel that a manifest states, None if none does.
        source: Address of a remote slide; ``path`` is then only a name until `local` fetches it.
    """

    path: Path
    slide_id: str
    mpp: float | None = None
    source: str | None = None

    @classmethod
    def at(cls, place: Path | str, slide_id: str | None = None, mpp: float | None = None) -> Self:
        """Return the slide at a path or a remote address.

        Args:
            place: Path, ``file://`` address or remote address.
            slide_id: Name of the slide; None takes the file's, without its extension.
            mpp: Level-0 resolution in µm per pixel; None if it is not stated.
        """
        source = str(place) if is_remote(place) else None
        path = Path(plain_address(source)) if source else local_path(place)
        return cls(path, slide_id or _as_text(_slide_id(path)), mpp, source)

    @contextmanager
    def local(self, cache: SlideCache, stage: Stage | None = None) -> Iterator[SlideFile]:
        """Yield the same slide as a file of this machine, which stays there within the block.

        Args:
            cache: Keeps the copy of a remote slide.
            stage: Takes a copy of any other; None reads it where it is.

        Raises:
            SlideError: The slide is remote and cannot be fetched.
            DiskFullError: There is no space left for the copy.
        """
        with ExitStack() as held:
            path = self.path
            if self.source is not None:
                path = held.enter_context(cache.copy_of(self.source))
            elif stage is not None:
                path = held.enter_context(stage.copy_of(path))
            yield replace(self, path=path)

    def identity(self) -> dict[str, object]:
        """Return what tells this slide from another of the same name, without reading it whole.

        Raises:
            SlideError: The slide cannot be read.
        """
        if self.source is not None:
            return {"slide_address": plain_address(self.source)}
        with reading(self.path, SlideError, hint="check who may read it"):
            return {"slide": fingerprint(self.path)}

    def require_usable_name(self) -> None:
        """Require that files can be called as the slide is.

        Raises:
            SlideError: Its name is too long, or is no text.
        """
        try:
            str(self.path).encode()
            num_bytes = len(self.slide_id.encode())
        except UnicodeEncodeError:
            raise SlideError(
                _as_text(str(self.path)), "its name is not text in UTF-8", hint="rename it"
            ) from None
        if num_bytes > _MOST_ID_BYTES:
            raise SlideError(
                self.path,
                f"its name takes {num_bytes} bytes, more than {_MOST_ID_BYTES}",
                hint="rename it, or call it otherwise in a manifest with a column slide_id",
            )


def find_slides(
    paths: Iterable[Path | str],
    manifest: Path | None = None,
    names: Names = "file",
    reporter: Reporter | None = None,
) -> list[SlideFile]:
    """Gather slides from files, folders and a manifest.

    Args:
        paths: Slide files, remote addresses, and folders. A folder stands for all slides in it,
            unless it is a slide itself (OME-Zarr, DICOM); beside a manifest, it only serves to look
            up the manifest's relative paths.
        manifest: A table with a column of paths, and if known one of resolutions.
        names: How slides found in a folder are named: ``file``, after their file; ``path``, after
            the folders on the way to it too, joined by ``__``.
        reporter: Receives what is found in folders and left out; None shows nothing.

    Raises:
        MissingDataError: A path does not exist, or there is no slide at all.
        TableError: The manifest has faults; all are listed.
        UsageError: Two slides have the same name.
    """
    places = [path if is_remote(path) else local_path(path) for path in paths]
    for place in places:
        if isinstance(place, Path) and not _exists(place):
            raise MissingDataError(f"{place}: there is no such file or folder")
    folders = [place for place in places if isinstance(place, Path) and is_folder(place)]
    slides = [] if manifest is None else read_manifest(manifest, folders)
    for place in places:
        if place not in folders or (manifest is not None and is_slide_folder(Path(place))):
            slides.append(SlideFile.at(place))
        elif manifest is None:
            findings = search(Path(place))
            findings.tell(reporter or Silent())
            slides.extend(_named(slide, Path(place), names) for slide in findings.slides)
    slides = _without_repeats(slides)
    if not slides:
        where = ", ".join(map(str, folders)) or "nothing was given"
        raise MissingDataError(
            f"no slides to read: {where}",
            hint=f"known slide files end with {', '.join(SLIDE_SUFFIXES)}",
        )
    return slides


def are_slides(place: Path | str) -> bool:
    """Tell whether a user's path is a slide or a folder of slides, and not features.

    Raises:
        UsageError: A folder holds both.
    """
    if is_remote(str(place)):
        return not is_features_address(str(place))
    path = local_path(place)
    if is_lazyslide(path):
        return False
    if not path.is_dir() or is_slide_folder(path):
        return path.is_dir() or path.suffix.lower() in SLIDE_SUFFIXES
    slides, features = search(path).slides, next(_features_below(path), None)
    if slides and features:
        raise UsageError(
            f"{path} holds slides ({slides[0].path.relative_to(path)}) and features "
            f"({features.relative_to(path)})",
            hint="name the folder of the ones you mean, or a pattern in quotes, as "
            f"'{path / ('*' + features.suffix)}'",
        )
    return bool(slides)


def _features_below(folder: Path) -> Iterator[Path]:
    for pattern in ("*.pt", "*.npy"):
        yield from folder.glob(pattern)
    yield from filter(is_lazyslide, folder.glob("*.zarr"))
    yield from folder.rglob("*.h5")


def are_all_slides(places: Sequence[str]) -> bool:
    """Tell whether a user's paths are slides and folders of slides, and not features.

    Raises:
        UsageError: Some are slides and some are not.
    """
    slides = [place for place in places if are_slides(place)]
    if slides and len(slides) < len(places):
        other = next(place for place in places if place not in slides)
        raise UsageError(
            f"{slides[0]} is a slide or a folder of slides, and {other} is not",
            hint="give slides and features in two calls",
        )
    return bool(slides)


def read_manifest(path: Path, folders: Sequence[Path] = ()) -> list[SlideFile]:
    """Read a manifest.

    Args:
        path: A CSV or TSV table with a header.
        folders: Folders in which relative paths are looked up, after the manifest's own.

    Raises:
        TableError: A column is missing, a slide does not exist, or a resolution is implausible; all
            faults are listed with their lines.
    """
    table = read_table(path)
    path_column = find_column(table.columns, _PATH_COLUMNS)
    mpp_column = find_column(table.columns, _MPP_COLUMNS)
    id_column = find_column(table.columns, _ID_COLUMNS)
    if path_column is None:
        raise TableError(
            path,
            f"needs a column wsi with the slides, found: {', '.join(table.columns)}",
            hint=f"the column may be called {', '.join(_PATH_COLUMNS)}",
        )
    faults: list[str] = []
    slides: dict[Path | str, tuple[SlideFile, int]] = {}
    roots = [path.parent, *folders]
    for line, row in table.rows.items():
        try:
            place = _existing(row[path_column], roots)
            mpp = _plausible(row[mpp_column]) if mpp_column else None
            named = row[id_column] if id_column and not is_missing(row[id_column]) else ""
            slide = SlideFile.at(place, slide_name(_safe_id(named)) if named else None, mpp)
            itself = place.resolve() if isinstance(place, Path) else place
            first, one = slides.setdefault(itself, (slide, line))
            if (first.slide_id, first.mpp) != (slide.slide_id, slide.mpp):
                raise ValueError(_twice(row[path_column], one))
        except (ValueError, OSError) as fault:
            faults.append(f"line {line}: {_reason(fault)}")
    if faults:
        raise TableError(path, faults, hint="correct these lines of the manifest")
    return [slide for slide, _ in slides.values()]


def read_resolutions(path: Path) -> dict[str, float]:
    """Read the level-0 resolutions that a manifest states; the slides need not exist.

    Returns:
        µm per pixel, by slide_id.

    Raises:
        TableError: A column is missing, or a resolution is implausible; all faults are listed.
    """
    table = read_table(path)
    mpp_column = find_column(table.columns, _MPP_COLUMNS)
    id_column = find_column(table.columns, _ID_COLUMNS)
    path_column = find_column(table.columns, _PATH_COLUMNS)
    if mpp_column is None or (id_column or path_column) is None:
        found = ", ".join(table.columns)
        raise TableError(path, f"needs columns wsi (or slide_id) and mpp, found: {found}")
    faults: list[str] = []
    known: dict[str, tuple[float, int]] = {}
    for line, row in table.rows.items():
        named = row[id_column] if id_column and not is_missing(row[id_column]) else ""
        try:
            slide = slide_name(named) or (_slide_id(Path(row[path_column])) if path_column else "")
            mpp = _plausible(row[mpp_column])
            if not slide:
                raise ValueError("names no slide")
            if mpp is not None and (first := known.setdefault(slide, (mpp, line)))[0] != mpp:
                raise ValueError(_twice(slide, first[1]))
        except (ValueError, OSError) as fault:
            faults.append(f"line {line}: {_reason(fault)}")
    if faults:
        raise TableError(path, faults, hint="correct these lines of the manifest")
    return {slide: mpp for slide, (mpp, _) in known.items()}


def _twice(name: str, line: int) -> str:
    return f"{name!r} appears twice, with different content (line {line})"


def _reason(fault: ValueError | OSError) -> str:
    """Describe a fault of ours, or the system's: a name too long, a folder without access."""
    return f"cannot be looked up ({fault.strerror})" if isinstance(fault, OSError) else str(fault)


def _existing(text: str, roots: Sequence[Path]) -> Path | str:
    if is_missing(text):
        raise ValueError(f"the slide's path is {'missing' if text else 'empty'}")
    if is_remote(text):
        return text
    path = local_path(text)
    for candidate in [path] if path.is_absolute() else [root / path for root in roots]:
        if candidate.is_file() or is_slide_folder(candidate):
            return candidate
        if is_folder(candidate):
            raise ValueError(f"{text!r} is a folder that is no slide, or holds several")
    raise ValueError(f"there is no file {text!r}")


def _plausible(text: str) -> float | None:
    if is_missing(text):
        return None
    try:
        mpp = number(text)
    except ValueError as fault:
        raise ValueError(f"mpp {fault}") from None
    if not (math.isfinite(mpp) and MIN_MPP <= mpp <= MAX_MPP):
        raise ValueError(f"mpp {text} is not between {MIN_MPP:g} and {MAX_MPP:g} µm per pixel")
    return mpp


def _safe_id(name: str) -> str:
    """Require that a slide_id, used as a file name, does not lead out of the job's folder."""
    if PureWindowsPath(name).name != name or name.startswith("."):
        raise ValueError(f"slide_id {name!r} cannot be a file's name")
    return name


def _slide_id(path: Path) -> str:
    from tcssa.slides.image.slide import slide_id_of

    return slide_id_of(path)


def _exists(path: Path) -> bool:
    """Tell whether a path may exist: one that may not be looked up fails by name later."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def _as_text(name: str) -> str:
    """Return a name that can be printed and stored; bytes that are no UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def _named(found: FoundSlide, folder: Path, names: Names) -> SlideFile:
    slide = SlideFile.at(found.path)
    name = _as_text(found.name) if found.name else slide.slide_id
    if names == "path":
        name = _as_text("__".join((*found.path.relative_to(folder).parent.parts, name)))
    return replace(slide, slide_id=name)


def _without_repeats(slides: Sequence[SlideFile]) -> list[SlideFile]:
    """Return each file once, as it was named first; two files of one name are refused."""
    by_path: dict[str, SlideFile] = {}
    for slide in slides:
        by_path.setdefault(slide.source or os.path.realpath(slide.path), slide)
    by_id: dict[str, SlideFile] = {}
    for slide in by_path.values():
        # Two names that differ by case alone are one file on some disks.
        other = by_id.setdefault(slide.slide_id.casefold(), slide)
        if other is not slide:
            raise UsageError(
                f"two slides are called {slide.slide_id!r}: {other.path} and {slide.path}",
                hint="name them in a manifest with a column slide_id, or after their folders: "
                "tcssa extract --names path",
            )
    return list(by_path.values())
