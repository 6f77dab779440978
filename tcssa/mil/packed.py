"""The features of a cohort as float16 in one file: made once, for all folds, runs and processes.

::

    FOLDER/features-<key>/
      rows.bin      [patches, D] float16 of every slide, each on pages of its own
      index.json    which slides are in place, with a hash of their rows and what rounding changed

The key is of the cohort's features: their hash, and the size and time of every file. Another
content has another folder; what lies in one never changes. A slide's place follows from the numbers
of patches, so whoever packs writes the same bytes to the same place, and a lock only saves work.
The index is replaced whole, after the rows that it names are on the disk: a pack whose making was
killed holds the slides of its index, and the next process goes on with the others.

A slide with a value beyond float16 is left out; it is read from its own file, as it is.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from tcssa import atomic
from tcssa.checksums import params_hash
from tcssa.errors import DiskFullError, FeatureFileError, FileError
from tcssa.features import read_features
from tcssa.features.selection import bag_file
from tcssa.locks import FolderLocks
from tcssa.mil.cohort import Cohort, CohortSlide
from tcssa.mil.rounding import to_half
from tcssa.reporter import Reporter

FORMAT_VERSION = 1
PREFIX = "features-"
SAVE_EVERY_S = 5.0
"""Seconds of packing that a kill costs at most."""
_ROWS, _INDEX = "rows.bin", "index.json"
_ITEM_BYTES = 2
_PAGE_BYTES = 65_536
"""Of the system with the largest pages, so that all systems read the same file."""
_POLL_S = 0.2


class PackedSlide(BaseModel):
    """What the index says of a slide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_xxh3: str | None
    """Hash of its rows; None where it was left out."""
    largest_change: float = 0.0
    """Of any value by rounding to float16."""
    too_large_row: int | None = None
    """Why it was left out: the first patch with a value beyond float16."""


class _Index(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    feature_dim: int
    slides: dict[str, PackedSlide] = {}


class _Place(NamedTuple):
    offset: int
    num_patches: int


@dataclass(frozen=True)
class Rounding:
    """How features in float16 differ from those in the files."""

    largest_change: float
    """Of any value."""
    left_as_they_are: dict[str, str]
    """Slides that do not fit float16, and why."""


@dataclass(frozen=True)
class FeaturePack:
    """A whole pack, open for reading; any number of threads may read."""

    folder: Path
    feature_dim: int
    slides: dict[str, PackedSlide]
    places: dict[str, _Place]

    def holds(self, slide: CohortSlide) -> bool:
        """Whether the pack has the features of a slide."""
        found = self.slides.get(slide.slide_id)
        return found is not None and found.rows_xxh3 is not None

    def num_bytes(self, slide: CohortSlide) -> int:
        """What the features of a slide that it holds take."""
        return self.places[slide.slide_id].num_patches * self.feature_dim * _ITEM_BYTES

    def read(self, slide: CohortSlide, *, mapped: bool) -> Tensor:
        """Features [N, D] of a slide that it holds, float16, checked against their hash.

        Args:
            slide: Which.
            mapped: As pages of the file, which all processes share, not as a copy.

        Raises:
            FeatureFileError: They cannot be read, or are not what was written.
        """
        path, place = self.folder / _ROWS, self.places[slide.slide_id]
        shape = (place.num_patches, self.feature_dim)
        rows: NDArray[np.float16]
        try:
            if mapped:  # "c": torch wants arrays that may be written to; the file stays as it is
                rows = np.memmap(path, np.float16, "c", place.offset, shape)
            else:
                count = shape[0] * shape[1]
                rows = np.fromfile(path, np.float16, count, offset=place.offset).reshape(shape)
        except (OSError, ValueError) as error:
            raise self._damaged(f"cannot be read ({error})") from None
        # this also touches every page, here in a reader's thread and not in the training step
        if _hash(rows) != self.slides[slide.slide_id].rows_xxh3:
            raise self._damaged(f"holds other rows of slide {slide.slide_id} than were written")
        return torch.from_numpy(rows)

    def rounding(self) -> Rounding:
        """What became of features that were not float16."""
        return Rounding(
            max((slide.largest_change for slide in self.slides.values()), default=0.0),
            {
                name: f"row {slide.too_large_row} has a value beyond float16"
                for name, slide in self.slides.items()
                if slide.too_large_row is not None
            },
        )

    def _damaged(self, reason: str) -> FeatureFileError:
        hint = f"remove {self.folder} and give the same command again: it is made anew"
        return FeatureFileError(self.folder / _ROWS, reason, hint=hint)


def open_pack(root: Path, cohort: Cohort, reporter: Reporter) -> FeaturePack:
    """The pack of a cohort; made, finished or waited for where it is not whole.

    Args:
        root: The folder of packs.
        cohort: Whose features.
        reporter: Is told of progress, of waiting, and of packs of other contents beside it.

    Raises:
        DiskFullError: There is no space for it.
        FileError: The folder cannot be written to.
        FeatureFileError: A feature file cannot be read, or changed since the cohort was read.
        NonFiniteFeatureError: A feature is NaN or infinite; it names file and row.
    """
    name = PREFIX + _key(cohort)
    folder = root / name
    places, num_bytes = _places(cohort.slides, cohort.feature_dim)
    with _disk_errors(root):
        index = _read_index(folder, cohort.feature_dim, num_bytes)
        if not index.slides.keys() >= places.keys():
            folder.mkdir(parents=True, exist_ok=True)
            index = _make(root, name, cohort, places, num_bytes, reporter)
    _tell_of_others(root, name, reporter)
    return FeaturePack(folder, cohort.feature_dim, index.slides, places)


def _make(
    root: Path,
    name: str,
    cohort: Cohort,
    places: dict[str, _Place],
    num_bytes: int,
    reporter: Reporter,
) -> _Index:
    """Pack what is missing, or wait for the process that does."""
    folder = root / name
    with FolderLocks(root) as locks:
        waits = False
        while True:
            owner = locks.take(name)
            index = _read_index(folder, cohort.feature_dim, num_bytes)
            if index.slides.keys() >= places.keys():
                return index
            if owner is None:
                _pack(folder, index, cohort, places, num_bytes, reporter)
                return index
            if not waits:
                reporter.note(f"waiting for {owner}, which packs these features into {folder}")
            waits = True
            time.sleep(_POLL_S)


def _pack(
    folder: Path,
    index: _Index,
    cohort: Cohort,
    places: dict[str, _Place],
    num_bytes: int,
    reporter: Reporter,
) -> None:
    """Write the rows of all slides that the index lacks; it is saved every few seconds."""
    atomic.discard_leftovers(folder)
    if not index.slides and (folder / _INDEX).exists():
        reporter.warn(f"{folder} is damaged, and is packed anew")
    todo = [slide for slide in cohort.slides if slide.slide_id not in index.slides]
    with (
        _reserved(folder / _ROWS, num_bytes) as descriptor,
        reporter.task("packing features", len(todo), "slides") as task,
    ):
        saved_at = time.monotonic()
        for slide in todo:
            place = places[slide.slide_id]
            index.slides[slide.slide_id] = _pack_slide(slide, cohort, place, descriptor)
            if time.monotonic() - saved_at >= SAVE_EVERY_S:
                _save(folder, index, descriptor)
                saved_at = time.monotonic()
            task.advance()
        _save(folder, index, descriptor)


def _pack_slide(slide: CohortSlide, cohort: Cohort, place: _Place, descriptor: int) -> PackedSlide:
    features = read_features(slide.path, cohort.feature_dim)
    if len(features) != slide.num_patches:
        reason = f"had {slide.num_patches} patches a moment ago, now {len(features)}"
        raise FeatureFileError(slide.path, reason, hint="give the same command again")
    rounded = to_half(features)
    if rounded.too_large_row is not None:
        return PackedSlide(rows_xxh3=None, too_large_row=rounded.too_large_row)
    _write_at(descriptor, rounded.features, place.offset)
    return PackedSlide(rows_xxh3=_hash(rounded.features), largest_change=rounded.largest_change)


def _write_at(descriptor: int, rows: NDArray[np.float16], offset: int) -> None:
    left = np.ascontiguousarray(rows).data.cast("B")
    os.lseek(descriptor, offset, os.SEEK_SET)
    while left:
        left = left[os.write(descriptor, left) :]


def _save(folder: Path, index: _Index, descriptor: int) -> None:
    os.fsync(descriptor)  # rows first: the index names nothing that is not on the disk
    atomic.write_text(folder / _INDEX, index.model_dump_json() + "\n")


@contextmanager
def _reserved(path: Path, num_bytes: int) -> Iterator[int]:
    """The descriptor of a file of this size; its space is taken before anything is written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        # what a killed process reserved is ours already; Windows does not tell
        needed = num_bytes - getattr(os.fstat(descriptor), "st_blocks", 0) * 512
        free = shutil.disk_usage(path.parent).free
        if needed > free:
            raise DiskFullError(path, needed_bytes=needed, free_bytes=free)
        os.ftruncate(descriptor, num_bytes)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, num_bytes)
        yield descriptor
    finally:
        os.close(descriptor)


def _read_index(folder: Path, feature_dim: int, num_bytes: int) -> _Index:
    """Which slides are in place; none where there is no pack, or a damaged one."""
    nothing = _Index(feature_dim=feature_dim)
    try:
        index = _Index.model_validate_json((folder / _INDEX).read_bytes())
        size = (folder / _ROWS).stat().st_size
    except (FileNotFoundError, ValidationError):
        return nothing
    fits = (index.format_version, index.feature_dim, size) == (
        FORMAT_VERSION, feature_dim, num_bytes
    )  # fmt: skip
    return index if fits else nothing


def _places(slides: Sequence[CohortSlide], feature_dim: int) -> tuple[dict[str, _Place], int]:
    """Where every slide's rows begin, in bytes, whatever the order of the table; and the end."""
    places, end = {}, 0
    for slide in sorted(slides, key=lambda slide: slide.slide_id):
        places[slide.slide_id] = _Place(end, slide.num_patches)
        end += slide.num_patches * feature_dim * _ITEM_BYTES
        end += -end % _PAGE_BYTES
    return places, end


def _key(cohort: Cohort) -> str:
    files = {slide.slide_id: bag_file(slide.path).stat() for slide in cohort.slides}
    return params_hash(
        {
            "format_version": FORMAT_VERSION,
            "features": cohort.features_hash,
            "files": {name: [file.st_size, file.st_mtime_ns] for name, file in files.items()},
        }
    )


def _hash(rows: NDArray[np.float16]) -> str:
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(rows).data)


def _tell_of_others(root: Path, name: str, reporter: Reporter) -> None:
    others = sorted(path for path in root.glob(f"{PREFIX}*/{_ROWS}") if path.parent.name != name)
    if others:
        size = sum(path.stat().st_size for path in others)
        reporter.note(
            f"packs of other features lie in {root} too ({len(others)}, {size / 1e9:.1f} GB); remove "
            f"what no run needs: {', '.join(path.parent.name for path in others[:3])}"
        )


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(error.filename or root) from None
        raise FileError(
            root,
            f"cannot hold packed features ({error.strerror or error})",
            hint="name another folder with --feature-cache, or leave it out",
        ) from None
