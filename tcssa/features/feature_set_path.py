"""Paths that name one set of features where a file holds several.

``S.h5::uni`` is the set ``uni`` of a file, ``job::uni`` the same set of every file in a folder.
Inside the toolkit the name always stands on the folder (``job::uni/S.h5``), so that the last
part of a path remains the slide's name and suffix.
"""

from __future__ import annotations

from pathlib import Path

from tcssa.errors import FeatureFileError

SEPARATOR = "::"
STORE_SUFFIX = ".zarr"
"""Suffix of a LazySlide store, which is a folder."""


def split_selection(path: Path) -> tuple[Path, str | None]:
    """Split a path into the path on the disk and the name of a set; None if none is named."""
    if SEPARATOR not in str(path) or path.exists():
        return path, None
    parts = list(path.parts)
    for index in reversed(range(len(parts))):
        base, separator, name = parts[index].rpartition(SEPARATOR)
        if separator and base and name:
            return Path(*parts[:index], base, *parts[index + 1 :]), name
    return path, None


def with_selection(path: Path, name: str | None) -> Path:
    """Add the name of a set of features to a path, on its folder: ``job::uni/S.h5``.

    Args:
        path: The path on the disk.
        name: The set; None leaves the path as it is.
    """
    return path if name is None else Path(f"{path.parent}{SEPARATOR}{name}") / path.name


def bag_file(path: Path) -> Path:
    """Return the file whose size and time represent a bag; for a LazySlide store its metadata."""
    stored, _ = split_selection(path)
    return stored / "zarr.json" if is_store(stored) else stored


def bag_name(path: Path) -> str:
    """Return the file name and the set, if one is named; it tells bags of one slide apart."""
    stored, name = split_selection(path)
    return stored.name if name is None else f"{stored.name}{SEPARATOR}{name}"


def is_store(path: Path) -> bool:
    """Tell whether a path may be a LazySlide store; OME-Zarr is a slide, not a store."""
    name = path.name.lower()
    return name.endswith(STORE_SUFFIX) and not name.endswith(".ome.zarr") and path.is_dir()


def choose_set(path: Path, names: list[str], wanted: str | None) -> str:
    """Choose the set of features to read.

    Args:
        path: The file or store, for errors.
        names: The sets that it holds.
        wanted: The set that was asked for; None takes the only one.

    Raises:
        FeatureFileError: There is no set, none called ``wanted``, or several and ``wanted`` is
            None.
    """
    known = ", ".join(sorted(names))
    if not names:
        raise FeatureFileError(path, "holds no patch features", hint="extract features first")
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return wanted
    first = min(names)
    hint = f"name one: {path}{SEPARATOR}{first}, or {path.parent}{SEPARATOR}{first} for a folder"
    if wanted is None:
        raise FeatureFileError(path, f"holds several sets of features: {known}", hint=hint)
    raise FeatureFileError(path, f"holds no features {wanted!r} (found: {known})", hint=hint)
