"""Finding the bags of a cohort in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tcssa.errors import MissingDataError, UsageError
from tcssa.features.feature_set_path import STORE_SUFFIX, BagRef, is_store
from tcssa.features.readers.registry import SUFFIXES, TABLE_SUFFIX
from tcssa.features.tables import site_of

_SUBFOLDERS = ("features_*", "*/features_*", "h5_files", "pt_files", "*")
"""Subfolders of a job in which TRIDENT and we, CLAM (two; the first has coordinates) and STAMP keep
features; the first that holds any counts."""


def find_bags(paths: Iterable[Path]) -> list[BagRef]:
    """Find all feature files among files and folders, sorted by slide.

    A folder is a folder of feature files, or the job folder above exactly one such folder; a
    LazySlide store counts as a file. ``PATH::NAME`` names one of several sets in each file.

    Raises:
        MissingDataError: A path does not exist, or a folder holds no feature file.
        UsageError: A job folder holds features of several encoders.
    """
    found: list[BagRef] = []
    for given in map(BagRef.parse, paths):
        if is_store(given.path) or given.path.is_file():
            found.append(given)
        elif given.path.is_dir():
            found.extend(BagRef(bag, given.set_name) for bag in _bags_below(given.path))
        else:
            raise MissingDataError(f"{given.path}: there is no such file or folder")
    once = {(ref.path.resolve(), ref.set_name): ref for ref in reversed(found)}
    return sorted(once.values(), key=lambda ref: (ref.slide_id, str(ref)))


def index_bags(folder: Path) -> dict[str, BagRef]:
    """Map the slide_id of every slide in a folder to its feature file.

    Raises:
        MissingDataError: The folder does not exist, or holds no feature file.
        UsageError: Two files are of the same slide, or a job folder holds several sets of features.
    """
    index: dict[str, BagRef] = {}
    for ref in find_bags([folder]):
        other = index.setdefault(ref.slide_id, ref)
        if other is not ref:
            raise UsageError(
                f"two files hold features of slide {ref.slide_id!r}: {other} and {ref}",
                hint="keep one of them in the folder",
            )
    return index


def _bags_below(folder: Path) -> list[Path]:
    bags = _bags_in(folder)
    if bags:
        return bags
    found = ([s for s in folder.glob(pattern) if _bags_in(s)] for pattern in _SUBFOLDERS)
    candidates = next((folders for folders in found if folders), [])
    if not candidates:
        raise MissingDataError(
            f"{folder}: holds no feature files ({', '.join(SUFFIXES)})",
            hint="make them with: tcssa extract SLIDES --out JOB",
        )
    if len(candidates) > 1:
        raise UsageError(
            f"{folder}: holds several sets of features: {_names(candidates, folder)}",
            hint="name the one you mean",
        )
    return _bags_in(candidates[0])


def _bags_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    bags = [path for path in files if _may_be_bag(path)]
    return bags or _tables_of_patches(files)


def _may_be_bag(path: Path) -> bool:
    suffix = path.suffix.lower()
    return is_store(path) if suffix == STORE_SUFFIX else suffix in SUFFIXES


def _tables_of_patches(files: Sequence[Path]) -> list[Path]:
    """Choose SlideChat's CSV files: those named after a TCGA slide, unlike label tables."""
    tables = [path for path in files if path.suffix.lower() == TABLE_SUFFIX]
    return [path for path in tables if site_of(path.stem) is not None]


def _names(folders: Sequence[Path], base: Path) -> str:
    return ", ".join(str(folder.relative_to(base)) for folder in sorted(folders))
