"""Reading the bag of one slide, whichever tool wrote it.

Every layout of the field becomes the same `Bag`: rows of features, and corners in level-0
pixels where the file has them. The layouts (see docs/formats.md) differ in names only:

- TRIDENT and ours: HDF5 ``features``, ``coords`` with attributes;
- CLAM: HDF5 ``features``, ``coords`` without attributes, or a ``.pt`` tensor;
- STAMP: HDF5 ``feats``, ``coords`` in µm, attributes at the root;
- the TC-SSA reference: a ``.pt`` tensor, or a dict with ``features`` or ``feat``;
- AtlasPatch: HDF5 ``features``, a group of datasets, and ``coords`` of five columns;
- LazySlide: a Zarr store (`tcssa.features.lazyslide`);
- plain ``.npy`` arrays;
- SlideChat's ``.npy``, which pickles a dict, and ``.csv`` (`tcssa.features.slidechat`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureDimError, FeatureFileError, NonFiniteFeatureError, one_line
from tcssa.features.array_files import read_npy, read_pt
from tcssa.features.feature_set_path import (
    STORE_SUFFIX,
    choose_set,
    is_store,
    split_selection,
    with_selection,
)
from tcssa.features.hdf5_direct import DatasetRows
from tcssa.features.lazyslide import read_store
from tcssa.features.slidechat import read_csv_features
from tcssa.files.boundary import UnsoundError, reading, require_file
from tcssa.files.hdf5 import attributes, find_object, open_hdf5, require_numbers

SUFFIXES = (".h5", ".hdf5", ".pt", ".npy", STORE_SUFFIX)
"""Suffixes of a bag's file name; the last one is a folder's."""

TABLE_SUFFIX = ".csv"
"""SlideChat's suffix; in a folder it counts only where there is no other kind, since label tables
lie beside features."""

LOADED_WHOLE = (".pt", TABLE_SUFFIX)
"""Files that cannot be read in parts."""

_READ_AGAIN = "extract this slide again: the file is incomplete or damaged"
_ANY_NUMBER = "iuf"
_COORDS_WIDTHS = (2, 5)
"""Columns of corners: x, y; AtlasPatch adds read_w, read_h, level."""
_MAX_PLACE = 2.0**53
"""Bound on a corner's coordinates; larger whole numbers are not exact in float64."""


@dataclass
class Bag:
    """The patch features of one slide, open for reading; use it as a context manager.

    ``features`` and ``coords`` slice like arrays and are read from the disk only where sliced.
    """

    path: Path
    features: Any
    """[N, D], rows of an HDF5 dataset or an array."""
    coords: Any | None
    """Top-left corners (x, y), [N, 2]; None if the file has none."""
    coords_unit: str = "level0_px"
    """``level0_px``, or ``um`` in STAMP's files, which do not give the slide's resolution."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Attributes of the file: encoder, patch_size_level0, mpp_target …"""
    file: h5py.File | None = None

    @property
    def slide_id(self) -> str:
        """The slide's name: the file name without its extension."""
        return self.path.stem

    @property
    def num_patches(self) -> int:
        """The number of patches, N."""
        return int(self.features.shape[0])

    @property
    def feature_dim(self) -> int:
        """The length of a feature, D; 0 for an empty bag whose file does not give it."""
        return int(self.features.shape[1]) if len(self.features.shape) > 1 else 0

    @property
    def encoder(self) -> str | None:
        """The encoder that made the features, if the file names it.

        Raises:
            FeatureFileError: The attribute is not text.
        """
        for attribute in ("encoder", "extractor"):
            name = self.attributes.get(attribute)
            if name is not None and not isinstance(name, str):
                raise FeatureFileError(self.path, f"its attribute {attribute!r} is no text")
            if name and name != "None":  # TRIDENT writes None as the string 'None'
                return name
        return None

    @property
    def patch_size_level0(self) -> int | None:
        """The side of a patch in level-0 pixels, if the file gives it.

        Raises:
            FeatureFileError: The attribute is not a finite number of at least 0.
        """
        size = self.attributes.get("patch_size_level0")
        if size is None or (isinstance(size, str) and size == "None"):
            return None
        if not isinstance(size, int | float) or not math.isfinite(size) or size < 0:
            raise FeatureFileError(self.path, f"its attribute 'patch_size_level0' is {size!r}")
        return int(size)

    @property
    def um_per_coord(self) -> float | None:
        """Micrometres per unit of the coordinates, if the file gives them."""
        if self.coords_unit == "um":
            return 1.0
        mpp = self.attributes.get("mpp_level0")
        is_size = isinstance(mpp, int | float) and math.isfinite(mpp) and mpp > 0
        return float(mpp) if mpp is not None and is_size else None

    def read(self, begin: int = 0, end: int | None = None) -> NDArray[Any]:
        """Read rows of the features, in the type they are stored in.

        Args:
            begin: First row.
            end: Row to stop before; None reads to the last one.

        Returns:
            Features [n, D].

        Raises:
            FeatureFileError: The rows cannot be read.
        """
        return self._slice(self.features, begin, end)

    def read_coords(self, begin: int = 0, end: int | None = None) -> NDArray[Any] | None:
        """Read rows of the corners.

        Args:
            begin: First row.
            end: Row to stop before; None reads to the last one.

        Returns:
            Corners (x, y), [n, 2], in the unit ``coords_unit``; None if the file has none.

        Raises:
            FeatureFileError: The rows cannot be read, or hold a value that is not finite or too
                large for a slide.
        """
        if self.coords is None:
            return None
        coords = self._slice(self.coords, begin, end)[:, :2]
        if coords.dtype.kind == "f" and not (np.abs(coords) < _MAX_PLACE).all():
            raise FeatureFileError(self.path, "its coords are not all places on a slide")
        return coords

    def chunks(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Yield features and corners, ``rows`` patches at a time."""
        for begin in range(0, self.num_patches, rows):
            end = min(begin + rows, self.num_patches)
            yield self.read(begin, end), self.read_coords(begin, end)

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _slice(self, rows: Any, begin: int, end: int | None) -> NDArray[Any]:
        try:
            return np.asarray(rows[begin:end])
        except MemoryError:
            raise
        except Exception as error:  # as in `reading`, with the rows
            said = one_line(error) or type(error).__name__
            reason = f"rows {begin} to {end} cannot be read ({said})"
            raise FeatureFileError(self.path, reason, hint=_READ_AGAIN) from error


def open_bag(path: Path | str) -> Bag:
    """Open the features of one slide.

    Args:
        path: The slide's file or LazySlide store; ``S.h5::NAME`` if it holds several sets.

    Returns:
        The open bag; use it as a context manager.

    Raises:
        FeatureFileError: The file is missing or broken, holds no bag, lacks the set that was
            named, or cannot be read without running code.
        MissingExtraError: A LazySlide store needs a package that is not installed.
    """
    with reading(path, FeatureFileError):
        return _open(Path(path))


def _open(path: Path) -> Bag:
    path, wanted = split_selection(path)
    bag = _store_bag(path, wanted) if is_store(path) else _file_bag(path, wanted)
    try:
        _check(bag)
    except FeatureFileError:
        bag.close()
        raise
    return bag


def _store_bag(path: Path, wanted: str | None) -> Bag:
    store = read_store(path, wanted)
    named = with_selection(path, wanted)
    return Bag(named, store.features, store.coords, attributes=store.attributes)


def _file_bag(path: Path, wanted: str | None) -> Bag:
    require_file(path, FeatureFileError)
    suffix = path.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        return _open_hdf5(path, wanted)
    if wanted is not None:
        raise FeatureFileError(path, f"holds one set of features, and no {wanted!r}")
    if suffix not in _READERS:
        known = ", ".join((*SUFFIXES, TABLE_SUFFIX))
        raise FeatureFileError(path, f"is no feature file: known are {known}")
    return Bag(path, _READERS[suffix](path), coords=None)


_READERS: dict[str, Callable[[Path], NDArray[Any]]] = {
    ".pt": read_pt,
    ".npy": read_npy,
    TABLE_SUFFIX: read_csv_features,
}
"""Readers of files that hold one bare array, by suffix."""


def read_features(path: Path, feature_dim: int | None = None) -> NDArray[Any]:
    """Read and check all patch features of one slide.

    Args:
        path: The feature file.
        feature_dim: The D that the features must have; None accepts any.

    Returns:
        Features [N, D], in the type they are stored in.

    Raises:
        FeatureFileError: The file cannot be read.
        FeatureDimError: D is not ``feature_dim``.
        NonFiniteFeatureError: A feature is NaN or infinite; the error names file and row.
    """
    with open_bag(path) as bag:
        features = bag.read()
        if feature_dim not in (None, bag.feature_dim):
            assert feature_dim is not None
            raise FeatureDimError(path, feature_dim, bag.feature_dim)
    finite = np.isfinite(features)
    if not finite.all():
        raise NonFiniteFeatureError(int(np.argmin(finite.all(axis=1))), where=str(path))
    return np.array(features, order="C")


def _open_hdf5(path: Path, wanted: str | None) -> Bag:
    file = open_hdf5(path, FeatureFileError, hint=_READ_AGAIN)
    try:
        with reading(path, FeatureFileError, hint=_READ_AGAIN):
            return _bag_of(path, file, wanted)
    except BaseException:
        file.close()
        raise


def _bag_of(path: Path, file: h5py.File, wanted: str | None) -> Bag:
    name = next((name for name in ("features", "feats") if file.id.links.exists(name.encode())), "")
    if not name:
        names = ", ".join(map(str, file)) or "nothing"
        raise FeatureFileError(path, f"has neither 'features' nor 'feats' (found: {names})")
    found, chosen = find_object(file, name), None
    if isinstance(found, h5py.Group):
        sets = {each: one for each in found if (one := find_object(found, each))}
        name = chosen = choose_set(path, list(sets), wanted)
        found = sets[chosen]
    elif wanted is not None:
        raise FeatureFileError(path, f"holds one set of features, and no {wanted!r}")
    features = require_numbers(found, name, kinds=_ANY_NUMBER, looked_up_later=True)
    coords = find_object(file, "coords")
    if coords is not None:
        coords = require_numbers(coords, "coords", kinds=_ANY_NUMBER, ndim=2, looked_up_later=True)
    root = attributes(file)
    said = {**root, **attributes(features)}
    if chosen is not None:
        said["encoder"] = chosen
    if coords is not None:
        said |= attributes(coords)
        if coords.chunks:  # otherwise no block can be missing
            coords = DatasetRows(coords)
        if chosen is not None and "patch_size_level0" not in said:
            said |= _atlaspatch_size(coords)
    complete, unit = said.get("complete", True), root.get("unit", "px")
    if not isinstance(complete, int) or not complete:  # a truth value is an int
        raise UnsoundError("was not written to its end")
    if not isinstance(unit, str):
        raise UnsoundError("its attribute 'unit' is no text")
    return Bag(
        with_selection(path, wanted),
        DatasetRows(features),
        coords,
        "um" if unit == "um" else "level0_px",
        said,
        file,
    )


def _atlaspatch_size(coords: h5py.Dataset | DatasetRows) -> dict[str, int]:
    """Read the side of AtlasPatch's patches, if all were read at level 0 and have one size."""
    if coords.shape[1] != 5 or len(coords) == 0:
        return {}
    sizes = np.unique(coords[:][:, 2:], axis=0)
    return {"patch_size_level0": int(sizes[0, 0])} if len(sizes) == 1 and not sizes[0, 2] else {}


def _check(bag: Bag) -> None:
    """Check that a bag's shapes, types and attributes are consistent.

    Raises:
        FeatureFileError: The features are not floating point [N, D], the coords do not match them,
            or an attribute has the wrong type.
    """
    shape = bag.features.shape
    fault = None
    # (0,) is TRIDENT's empty bag of an encoder that does not give its D
    if len(shape) != 2 and shape != (0,):
        fault = f"features must be [N, D], found {list(shape)}"
    elif len(shape) == 2 and shape[0] and not shape[1]:
        fault = f"{shape[0]} patches without a single feature"
    elif np.dtype(bag.features.dtype).kind != "f":
        fault = f"features must be floating point, found {bag.features.dtype}"
    elif bag.coords is not None and len(bag.coords) != shape[0]:
        fault = f"{shape[0]} rows of features, but {len(bag.coords)} of coords"
    elif bag.coords is not None and bag.coords.shape[1] not in _COORDS_WIDTHS:
        fault = f"coords must be [N, 2], found {list(bag.coords.shape)}"
    if fault:
        raise FeatureFileError(bag.path, fault)
    _ = bag.encoder, bag.patch_size_level0  # they raise on attributes of another type
