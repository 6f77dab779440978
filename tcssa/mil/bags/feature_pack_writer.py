"""Packing of a cohort's features: once, by one process, resumed after a kill.

`tcssa.mil.bags.feature_pack` describes what a pack is, and why a lock only saves work.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import DiskFullError, FeatureFileError, FileError
from tcssa.features import read_features
from tcssa.files import atomic
from tcssa.files.locks import FolderLocks
from tcssa.mil.bags.feature_pack import (
    INDEX_FILE,
    PREFIX,
    ROWS_FILE,
    FeaturePack,
    PackedSlide,
    PackIndex,
    Place,
    pack_key,
    places_of,
    read_index,
    rows_hash,
)
from tcssa.mil.bags.rounding import to_half
from tcssa.mil.cohort.cohort import Cohort, CohortSlide
from tcssa.reporter import Reporter

SAVE_EVERY_S = 5.0
"""Seconds between saves of the index: the most work that a kill can cost."""
_POLL_S = 0.2


def open_pack(root: Path, cohort: Cohort, reporter: Reporter) -> FeaturePack:
    """Open the pack of a cohort; make it, finish it or wait for it where it is not complete.

    Args:
        root: The folder of packs.
        cohort: The slides whose features are packed.
        reporter: Told of progress, of waiting, and of packs of other features in the folder.

    Raises:
        DiskFullError: The disk has no space for the pack.
        FileError: The folder cannot be written to.
        FeatureFileError: A feature file cannot be read, or changed since the cohort was read.
        NonFiniteFeatureError: A feature is NaN or infinite; it names file and row.
    """
    name = PREFIX + pack_key(cohort)
    folder = root / name
    places, num_bytes = places_of(cohort.slides, cohort.feature_dim)
    with _disk_errors(root):
        index = read_index(folder, cohort.feature_dim, num_bytes)
        if not index.slides.keys() >= places.keys():
            folder.mkdir(parents=True, exist_ok=True)
            index = _make(root, name, cohort, places, num_bytes, reporter)
    _tell_of_others(root, name, reporter)
    return FeaturePack(folder, cohort.feature_dim, index.slides, places)


def _make(
    root: Path,
    name: str,
    cohort: Cohort,
    places: dict[str, Place],
    num_bytes: int,
    reporter: Reporter,
) -> PackIndex:
    """Pack the missing slides, or wait for the process that is packing them."""
    folder = root / name
    with FolderLocks(root) as locks:
        waits = False
        while True:
            owner = locks.take(name)
            index = read_index(folder, cohort.feature_dim, num_bytes)
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
    index: PackIndex,
    cohort: Cohort,
    places: dict[str, Place],
    num_bytes: int,
    reporter: Reporter,
) -> None:
    """Write the rows of all slides that the index lacks, saving the index every few seconds."""
    atomic.discard_leftovers(folder)
    if not index.slides and (folder / INDEX_FILE).exists():
        reporter.warn(f"{folder} is damaged, and is packed anew")
    todo = [slide for slide in cohort.slides if slide.slide_id not in index.slides]
    with (
        _reserved(folder / ROWS_FILE, num_bytes) as descriptor,
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


def _pack_slide(slide: CohortSlide, cohort: Cohort, place: Place, descriptor: int) -> PackedSlide:
    features = read_features(slide.path, cohort.feature_dim)
    if len(features) != slide.num_patches:
        reason = f"had {slide.num_patches} patches a moment ago, now {len(features)}"
        raise FeatureFileError(slide.path, reason, hint="give the same command again")
    rounded = to_half(features)
    if rounded.too_large_row is not None:
        return PackedSlide(rows_xxh3=None, too_large_row=rounded.too_large_row)
    _write_at(descriptor, rounded.features, place.offset)
    return PackedSlide(rows_xxh3=rows_hash(rounded.features), largest_change=rounded.largest_change)


def _write_at(descriptor: int, rows: NDArray[np.float16], offset: int) -> None:
    left = np.ascontiguousarray(rows).data.cast("B")
    os.lseek(descriptor, offset, os.SEEK_SET)
    while left:
        left = left[os.write(descriptor, left) :]


def _save(folder: Path, index: PackIndex, descriptor: int) -> None:
    os.fsync(descriptor)  # rows first: the index names nothing that is not on the disk
    atomic.write_text(folder / INDEX_FILE, index.model_dump_json() + "\n")


@contextmanager
def _reserved(path: Path, num_bytes: int) -> Iterator[int]:
    """Open a file of this size, its space reserved before anything is written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        # space that a killed process reserved is there already; Windows does not report it
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


def _tell_of_others(root: Path, name: str, reporter: Reporter) -> None:
    others = sorted(
        path for path in root.glob(f"{PREFIX}*/{ROWS_FILE}") if path.parent.name != name
    )
    if others:
        size = sum(path.stat().st_size for path in others)
        reporter.note(
            f"packs of other features lie in {root} too ({len(others)}, {size / 1e9:.1f} GB); "
            f"remove what no run needs: {', '.join(path.parent.name for path in others[:3])}"
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
