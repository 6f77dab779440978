"""Packing of a cohort's features: once, by one process, resumed after a kill.

`tcssa.mil.bags.feature_pack` describes what a pack is. A lock only saves work: every process that
packs would write the same bytes.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tcssa.errors import DiskFullError, FeatureFileError, FileError
from tcssa.features import read_features
from tcssa.features.feature_set_path import BagRef
from tcssa.files import atomic
from tcssa.files.checksums import params_hash
from tcssa.files.locks import FolderLocks
from tcssa.mil.bags.feature_pack import (
    PREFIX,
    FeaturePack,
    PackedSlide,
    is_refused,
    packed_file,
    read_packed,
    write_packed,
)
from tcssa.mil.bags.rounding import to_half
from tcssa.mil.cohort.cohort import Cohort, CohortSlide
from tcssa.reporter import Reporter

FORMAT_VERSION = 2
_OLD_FILE = "rows.bin"
"""Stands in packs of version 1, which held all slides in one file."""
_POLL_S = 0.2


def open_pack(root: Path, cohort: Cohort, reporter: Reporter) -> FeaturePack:
    """Open the pack of a cohort; make it, finish it or wait for it where it is not complete.

    Args:
        root: The folder of packs.
        cohort: The slides whose features are packed.
        reporter: Told of progress, of waiting, and of other packs in the folder.

    Raises:
        DiskFullError: The disk has no space for the pack.
        FileError: The folder cannot be written to.
        FeatureFileError: A feature file cannot be read, or changed since the cohort was read; or
            the system refuses to open a file of the pack.
        NonFiniteFeatureError: A feature is NaN or infinite; it names file and row.
    """
    name = PREFIX + _pack_key(cohort)
    folder = root / name
    with _disk_errors(root):
        slides = _packed_slides(folder, cohort)
        if len(slides) < len(cohort.slides):
            folder.mkdir(parents=True, exist_ok=True)
            with _turn(root, name, reporter):
                slides = _packed_slides(folder, cohort)
                missing = [slide for slide in cohort.slides if slide.slide_id not in slides]
                _tell_damage(folder, missing, reporter)
                slides |= _pack(folder, missing, cohort.feature_dim, reporter)
        _tell_of_others(root, name, reporter)
    return FeaturePack(folder, slides)


def _packed_slides(folder: Path, cohort: Cohort) -> dict[str, PackedSlide]:
    """Read which slides are packed, without those whose file is damaged.

    Raises:
        FeatureFileError: The system refuses to open a file; nothing is wrong with the file.
    """
    found = {}
    for slide in cohort.slides:
        try:
            features, packed = read_packed(folder, slide.slide_id, rows=False)
        except FeatureFileError as error:
            if is_refused(error):
                raise
            continue
        rows = slide.num_patches if packed.too_large_row is None else 0
        if tuple(features.shape) == (rows, cohort.feature_dim):
            found[slide.slide_id] = packed
    return found


@contextmanager
def _turn(root: Path, name: str, reporter: Reporter) -> Iterator[None]:
    """Wait until no other process packs the same features."""
    with FolderLocks(root) as locks:
        owner = locks.take(name)
        if owner is not None:
            reporter.note(f"waiting for {owner}, which packs these features into {root / name}")
        while owner is not None:
            time.sleep(_POLL_S)
            owner = locks.take(name)
        yield


def _pack(
    folder: Path, slides: Sequence[CohortSlide], feature_dim: int, reporter: Reporter
) -> dict[str, PackedSlide]:
    """Write the files of slides."""
    if not slides:
        return {}
    atomic.discard_leftovers(folder)
    needed = sum(slide.num_patches for slide in slides) * feature_dim * np.float16().itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(folder, needed_bytes=needed, free_bytes=free)
    packed = {}
    with reporter.task("packing features", len(slides), "slides") as task:
        for slide in slides:
            packed[slide.slide_id] = _pack_slide(slide, folder, feature_dim)
            task.advance()
    return packed


def _pack_slide(slide: CohortSlide, folder: Path, feature_dim: int) -> PackedSlide:
    features = read_features(slide.path, feature_dim)
    if len(features) != slide.num_patches:
        reason = f"had {slide.num_patches} patches a moment ago, now {len(features)}"
        raise FeatureFileError(slide.path, reason, hint="give the same command again")
    return write_packed(folder, slide.slide_id, to_half(features))


def _pack_key(cohort: Cohort) -> str:
    """Return the key that distinguishes the pack of a cohort from those of other features.

    Raises:
        FeatureFileError: A feature file is gone or not accessible.
    """
    files = {slide.slide_id: _stat(slide.path) for slide in cohort.slides}
    return params_hash(
        {
            "format_version": FORMAT_VERSION,
            "features": cohort.features_hash,
            "files": {name: [file.st_size, file.st_mtime_ns] for name, file in files.items()},
        }
    )


def _stat(path: Path) -> os.stat_result:
    try:
        return BagRef.parse(path).file.stat()
    except OSError as error:
        raise FeatureFileError(path, f"cannot be read ({error.strerror or error})") from None


def _tell_damage(folder: Path, missing: Sequence[CohortSlide], reporter: Reporter) -> None:
    damaged = [s.slide_id for s in missing if packed_file(folder, s.slide_id).exists()]
    if damaged:
        reporter.warn(
            f"{len(damaged)} files in {folder} are damaged, and are packed anew: "
            f"{', '.join(damaged[:5])}"
        )


def _tell_of_others(root: Path, name: str, reporter: Reporter) -> None:
    others = sorted(path for path in root.glob(f"{PREFIX}*") if path.name != name)
    if not others:
        return
    size = sum(file.stat().st_size for other in others for file in other.glob("*"))
    reporter.note(
        f"packs of other features lie in {root} too ({len(others)}, {size / 1e9:.1f} GB); "
        f"remove what no run needs: {', '.join(path.name for path in others[:3])}"
    )
    old = [path.name for path in others if (path / _OLD_FILE).exists()]
    if old:
        reporter.note(
            f"{len(old)} of them are of an earlier version and are not read; a run that needs one "
            f"packs its features anew, so remove {', '.join(old[:3])}"
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
