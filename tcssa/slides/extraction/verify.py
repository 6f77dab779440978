"""Verification of a finished job, file by file: damaged ones are listed, and can be queued again.

Files get their names only when they are whole, so a fault here comes from the disk, from a copy
that was cut short, or from another program.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, MissingDataError
from tcssa.features.bag import Bag
from tcssa.features.opening import open_bag
from tcssa.features.trident_layout import CONVERTED_FROM
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.checksums import params_hash
from tcssa.files.hdf5 import attributes, find_object, hdf5_file, numbers
from tcssa.reporter import Reporter, Silent

FAULTY_FOLDER = "faulty"
_ROWS = 8192
_FEATURES = ("*/features_*/*.h5", "features_*/*.h5")
"""Places of features, in a job and in a folder of one grid."""
_SLOTS = ("*/slide_features_tcssa/*.h5", "slide_features_tcssa/*.h5")
_LEFTOVERS = ("**/.*.tcssa-tmp", "**/.*.tcssa-lock")
_COORDS_FACTS = ("patch_size", "patch_size_level0", "level0_width", "level0_height")


@dataclass(frozen=True)
class Fault:
    """Fault of a file, whose path is relative to its job."""

    path: Path
    reason: str


@dataclass
class VerifyReport:
    """Contents of a job, and what is wrong with them.

    Attributes:
        job: Folder of the job.
        num_features: Number of feature files.
        num_slots: Number of slot files.
        num_patches: Rows of all sound feature files.
        faults: Faulty files, and what is wrong with each.
        num_requeued: Faulty files that were moved aside.
        leftovers: Temporary files and locks of runs that were killed or are still going on.
        without_grid: Sound files of other programs and of `convert` that have no file of patches to
            be compared with, relative to the job.
    """

    job: Path
    num_features: int = 0
    num_slots: int = 0
    num_patches: int = 0
    faults: list[Fault] = field(default_factory=list)
    num_requeued: int = 0
    leftovers: list[Path] = field(default_factory=list)
    without_grid: list[Path] = field(default_factory=list)


def verify(job: Path, *, repair: bool = False, reporter: Reporter | None = None) -> VerifyReport:
    """Check every file of a job: ours, what TRIDENT made of our patches, what `convert` wrote.

    A feature file must open and be complete, with as many corners as rows, only finite values, and
    exactly the patches of the grid's file, in its order, but for those that could not be read. One
    that `tcssa.slides.extract` wrote must also have that file, the attributes of its grid, and the
    parameters that its hash was made of. A slot file must be complete and finite, with no mass
    below 0.

    Args:
        job: The folder that `tcssa.slides.extract` wrote, or a conversion to TRIDENT's layout.
        repair: Move faulty files to ``JOB/faulty``, so that the next extraction makes them again.
        reporter: Receives the progress; None shows none.

    Returns:
        Counts of the files, and what is wrong with them.

    Raises:
        MissingDataError: The folder holds no features and no slots.
    """
    reporter = reporter or Silent()
    features = sorted(path for pattern in _FEATURES for path in job.glob(pattern))
    slots = sorted(path for pattern in _SLOTS for path in job.glob(pattern))
    if not features and not slots:
        raise MissingDataError(
            f"{job}: holds no features and no slots", hint="name the --out of tcssa extract"
        )
    report = VerifyReport(job, len(features), len(slots))
    with reporter.task("verifying", len(features) + len(slots), "files") as task:
        for path in features:
            _check(path, _check_features, report, repair=repair)
            task.advance()
        for path in slots:
            _check(path, _check_slots, report, repair=repair)
            task.advance()
    report.leftovers = sorted(path for pattern in _LEFTOVERS for path in job.glob(pattern))
    return report


def _check(
    path: Path, check: Callable[[Path, VerifyReport], None], report: VerifyReport, *, repair: bool
) -> None:
    """Check a file, and note it where it is faulty."""
    try:
        with reading(path, FeatureFileError):
            check(path, report)
        return
    except FeatureFileError as fault:
        reason = fault.reason
    relative = path.relative_to(report.job)
    report.faults.append(Fault(relative, reason))
    if repair:
        aside = report.job / FAULTY_FOLDER / relative
        aside.parent.mkdir(parents=True, exist_ok=True)
        path.replace(aside)
        report.num_requeued += 1


def _check_features(path: Path, report: VerifyReport) -> None:
    grid = path.parent.parent / "patches" / f"{path.stem}_patches.h5"
    with open_bag(path) as bag:
        own = _own_attributes(bag)
        if "params" in own and CONVERTED_FROM not in own:
            _check_extracted(bag, own, grid)
        for first, rows in _rows_of(bag):
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                raise UnsoundError(f"row {first + int(np.argmin(finite))} is not finite")
        coords, failed = bag.read_coords(), _failed_coords(bag)
        if len(failed) != int(own.get("n_failed", 0)):
            raise UnsoundError(
                f"lists {len(failed)} patches that could not be read, and counts "
                f"{own.get('n_failed', 0)}"
            )
        if coords is None or not grid.exists():
            report.without_grid.append(path.relative_to(report.job))
        else:
            _check_places(grid, coords, failed)
        report.num_patches += bag.num_patches


def _own_attributes(bag: Bag) -> Mapping[str, Any]:
    """Return the attributes of the features alone: those of ``coords`` TRIDENT copies from ours."""
    features = None if bag.file is None else find_object(bag.file, "features")
    return {} if features is None else attributes(features)


def _check_extracted(bag: Bag, own: Mapping[str, Any], grid: Path) -> None:
    """Require what only an extraction of ours has."""
    if bag.coords is None:
        raise UnsoundError("has no coords")
    missing = [name for name in _COORDS_FACTS if name not in bag.attributes]
    if missing:
        raise UnsoundError(f"lacks the attributes {', '.join(missing)}")
    if params_hash(json.loads(own["params"])) != own["params_hash"]:
        raise UnsoundError("its parameters are not those that its hash was made of")
    if not grid.exists():
        raise UnsoundError(f"the file of its patches is missing: {grid.name}")


def _rows_of(bag: Bag) -> Iterator[tuple[int, NDArray[Any]]]:
    for first in range(0, bag.num_patches, _ROWS):
        yield first, bag.read(first, first + _ROWS)


def _failed_coords(bag: Bag) -> NDArray[np.int64]:
    if bag.file is None or find_object(bag.file, "failed_coords") is None:
        return np.empty((0, 2), np.int64)
    failed: NDArray[np.int64] = numbers(bag.file, "failed_coords", kinds="iu", ndim=2)[:]
    return failed


def _check_places(grid: Path, coords: NDArray[Any], failed: NDArray[np.int64]) -> None:
    """Require the patches of the grid's file, in its order, without the failed ones."""
    with hdf5_file(grid, FeatureFileError) as file:
        planned = numbers(file, "coords", kinds="iu", ndim=2)[:]
    if len(failed):
        out = {tuple(corner) for corner in failed.tolist()}
        planned = np.array([c for c in planned.tolist() if tuple(c) not in out]).reshape(-1, 2)
    if planned.shape != coords.shape:
        raise UnsoundError(
            f"has {len(coords)} patches and {len(failed)} that could not be read; {grid.name} "
            f"leaves {len(planned)}"
        )
    if not np.array_equal(planned, coords):
        row = int(np.argmax((planned != coords).any(axis=1)))
        raise UnsoundError(f"row {row} is another patch than in {grid.name}")


def _check_slots(path: Path, _: VerifyReport) -> None:
    with hdf5_file(path, FeatureFileError) as file:
        slots, mass = numbers(file, "features", ndim=2)[:], numbers(file, "mass", ndim=1)[:]
        _check_assignments(file)
        if not attributes(file["features"])["complete"]:
            raise UnsoundError("was not written to its end")
    if not (np.isfinite(slots).all() and np.isfinite(mass).all()):
        raise UnsoundError("holds values that are not finite")
    if (mass < 0).any() or slots.shape[0] != len(mass):
        raise UnsoundError("its mass makes no sense")


def _check_assignments(file: h5py.File) -> None:
    """Require that the slots of patches, where they are kept, are of all patches, and finite."""
    if find_object(file, "patches") is None:
        return
    slots = numbers(file, "patches/slots", kinds="u", ndim=2)
    weights = numbers(file, "patches/weights", ndim=2)[:]
    expected = int(attributes(file["features"])["num_patches"])
    if slots.shape != weights.shape or len(weights) != expected or not np.isfinite(weights).all():
        raise UnsoundError("its assignments of patches make no sense")
