"""Finding the bags of a cohort in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from tcssa.errors import MissingDataError, UsageError
from tcssa.features.feature_set_path import BagRef
from tcssa.features.lazyslide_store import STORE_SUFFIX, is_store
from tcssa.features.readers.patch_table import is_patch_table
from tcssa.features.readers.registry import SUFFIXES, TABLE_SUFFIX
from tcssa.features.tables import site_of

_JOB_FOLDERS = ("features_*", "h5_files", "pt_files")
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
            found.extend(_bags_below(given.path, given.set_name))
        else:
            raise MissingDataError(f"{given.path}: there is no such file or folder")
    real_folder = cache(os.path.realpath)  # of each file it would look up every folder above it

    def real(ref: BagRef) -> tuple[str, str, str | None]:  # texts that are there already
        folder, name = ref.folder, ref.file_name
        path = os.path.join(folder, name)  # noqa: PTH118
        if os.path.islink(path):  # noqa: PTH114
            folder, name = os.path.split(os.path.realpath(path))
        return real_folder(folder), os.path.normcase(name), ref.set_name

    once = {real(ref): ref for ref in reversed(found)}
    found = sorted(once.values(), key=lambda ref: ref.file_name)
    del once  # of very many bags it is large
    found.sort(key=lambda ref: (ref.folder, ref.set_name or ""))
    found.sort(key=lambda ref: ref.slide_id)
    return found


def find_all_bags(folders: Iterable[Path]) -> list[BagRef]:
    """Find the feature files of several folders, and of all folders below each, sorted by slide.

    Of a job folder, at whatever depth, the features count and nothing else in it. Links are
    followed, hidden folders are not searched.

    Raises:
        MissingDataError: A path does not exist, or holds no feature file at any depth.
        UsageError: A job folder holds features of several encoders.
    """
    found: list[BagRef] = []
    for given in map(BagRef.parse, folders):
        if given.path.is_dir() and not is_store(given.path):
            bags = _bags_at_any_depth(given.path, set())
            if not bags:
                raise _no_features_in(given.path)
            found.extend(BagRef(bag.path, given.set_name) for bag in bags)
        else:
            found.extend(find_bags([given.address]))
    return find_bags(ref.address for ref in found)


def index_bags(folder: Path) -> dict[str, BagRef]:
    """Map the slide_id of every slide in a folder to its feature file.

    Raises:
        MissingDataError: The folder does not exist, or holds no feature file.
        UsageError: Two files are of the same slide, or a job folder holds several sets of features.
    """
    return by_slide(find_bags([folder]), "keep one of them in the folder")


def by_slide(bags: Iterable[BagRef], hint: str = "give one of them") -> dict[str, BagRef]:
    """Map the slide_id of each feature file to it, in their order.

    Args:
        bags: The feature files.
        hint: What to do where two are of one slide.

    Raises:
        UsageError: Two files are of the same slide.
    """
    index: dict[str, BagRef] = {}
    for ref in bags:
        other = index.setdefault(ref.slide_id, ref)
        if other is not ref:
            raise UsageError(
                f"two files are of slide {ref.slide_id!r}: {other} and {ref}", hint=hint
            )
    return index


def features_folder(folder: Path) -> Path:
    """Return the folder that holds the feature files themselves, of those that a job folder has.

    A run keeps it: other features that are made in the same job later do not take its place.

    Raises:
        MissingDataError: The folder does not exist, or holds no feature file.
        UsageError: A job folder holds several sets of features.
    """
    given = BagRef.parse(folder)
    if not given.path.is_dir() or is_store(given.path):
        return folder
    return BagRef(_bags_below(given.path)[0].path.parent, given.set_name).address


def _bags_below(folder: Path, set_name: str | None = None) -> list[BagRef]:
    bags = _bags_in(folder, set_name)
    if bags:
        return bags
    found = ([s for s in folder.glob(pattern) if _bags_in(s)] for pattern in _SUBFOLDERS)
    candidates = next((folders for folders in found if folders), [])
    if not candidates:
        raise _no_features_in(folder)
    return _bags_in(_only(candidates, folder), set_name)


def _bags_at_any_depth(folder: Path, seen: set[Path]) -> list[BagRef]:
    """List the bags of a folder and of those below it; ``seen`` holds the folders gone through."""
    if folder.resolve() in seen:
        return []
    seen.add(folder.resolve())
    bags = _bags_in(folder)
    found = ([s for s in folder.glob(pattern) if _bags_in(s)] for pattern in _JOB_FOLDERS)
    job = next((folders for folders in found if folders), [])
    if job and not bags:
        return _bags_in(_only(job, folder))
    for below in sorted(folder.iterdir()):
        if below.is_dir() and not is_store(below) and not below.name.startswith("."):
            bags += _bags_at_any_depth(below, seen)
    return bags


def _only(candidates: Sequence[Path], folder: Path) -> Path:
    if len(candidates) > 1:
        raise UsageError(
            f"{folder}: holds several sets of features: {_names(candidates, folder)}",
            hint="name the one you mean",
        )
    return candidates[0]


def _no_features_in(folder: Path) -> MissingDataError:
    tables = sorted(folder.glob(f"*{TABLE_SUFFIX}"))
    others = f"; {tables[0].name} does not look like features" if tables else ""
    return MissingDataError(
        f"{folder}: holds no feature files ({', '.join(SUFFIXES)}){others}",
        hint="make them with: tcssa extract SLIDES --out JOB",
    )


def _bags_in(folder: Path, set_name: str | None = None) -> list[BagRef]:
    if not folder.is_dir():
        return []
    shared = str(folder)
    there = (
        BagRef.within(shared, name, set_name)
        for name in os.listdir(folder)  # noqa: PTH208, a Path of each takes ten times as long
        if not name.startswith(".")
    )
    bags, tables = [], []
    for ref in there:
        if _may_be_bag(ref):
            bags.append(ref)
        elif not bags and ref.file_name.lower().endswith(TABLE_SUFFIX):
            tables.append(ref)
    return bags or [ref for ref in tables if _is_table_of_patches(ref.path)]


def may_be_bag(path: Path) -> bool:
    """Tell by its name whether a file may hold patch features."""
    return _may_be_bag(BagRef(path))


def _may_be_bag(ref: BagRef) -> bool:
    suffix = os.path.splitext(ref.file_name)[1].lower()  # noqa: PTH122
    return is_store(ref.path) if suffix == STORE_SUFFIX else suffix in SUFFIXES


def _is_table_of_patches(path: Path) -> bool:
    """Tell a CSV file named after a TCGA slide, or with features in it, from a label table."""
    return path.is_file() and (site_of(path.stem) is not None or is_patch_table(path))


def _names(folders: Sequence[Path], base: Path) -> str:
    return ", ".join(str(folder.relative_to(base)) for folder in sorted(folders))
