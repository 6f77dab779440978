"""Reading the bag of one slide, whichever tool wrote it.

Every layout of the field becomes the same `Bag`: rows of features, and corners in level-0
pixels where the file knows them. The layouts (see docs/formats.md) differ in names only:

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

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureDimError, FeatureFileError, NonFiniteFeatureError, one_line
from tcssa.features.array_files import read_npy, read_pt
from tcssa.features.direct import DatasetRows
from tcssa.features.lazyslide import read_store
from tcssa.features.selection import (
    STORE_SUFFIX,
    choose_set,
    is_store,
    split_selection,
    with_selection,
)
from tcssa.features.slidechat import read_csv_features

SUFFIXES = (".h5", ".hdf5", ".pt", ".npy", STORE_SUFFIX)
"""What a bag's file name may end with; the last is a folder."""

TABLE_SUFFIX = ".csv"
"""SlideChat's; in a folder it counts only where there is no other kind, since tables of labels
lie beside features."""

LOADED_WHOLE = (".pt", TABLE_SUFFIX)
"""Files that cannot be read in parts."""

_READ_AGAIN = "extract this slide again: the file is incomplete or damaged"


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
    """``level0_px``, or ``um`` in STAMP's files, which do not know the slide's resolution."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What the file says of itself: encoder, patch_size_level0, mpp_target …"""
    file: h5py.File | None = None

    @property
    def slide_id(self) -> str:
        """The slide's name: the file's, without its extension."""
        return self.path.stem

    @property
    def num_patches(self) -> int:
        """N."""
        return int(self.features.shape[0])

    @property
    def feature_dim(self) -> int:
        """D; 0 where an empty bag does not tell."""
        return int(self.features.shape[1]) if len(self.features.shape) > 1 else 0

    @property
    def encoder(self) -> str | None:
        """The encoder that made the features, if the file names it."""
        name = self.attributes.get("encoder") or self.attributes.get("extractor")
        return str(name) if name and name != "None" else None

    @property
    def patch_size_level0(self) -> int | None:
        """Side of a patch in level-0 pixels, if the file tells."""
        size = self.attributes.get("patch_size_level0")
        try:
            return None if size is None else int(size)
        except (TypeError, ValueError):  # TRIDENT writes None as the string 'None'
            return None

    def read(self, begin: int = 0, end: int | None = None) -> NDArray[Any]:
        """Rows ``begin`` to ``end`` of the features, in the type they are stored in.

        Raises:
            FeatureFileError: The rows cannot be read.
        """
        return self._slice(self.features, begin, end)

    def read_coords(self, begin: int = 0, end: int | None = None) -> NDArray[Any] | None:
        """Rows ``begin`` to ``end`` of the corners; None if the file has none.

        Raises:
            FeatureFileError: The rows cannot be read.
        """
        if self.coords is None:
            return None
        return self._slice(self.coords, begin, end)[:, :2]

    def chunks(self, rows: int) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Features and corners, ``rows`` patches at a time."""
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
        except (OSError, ValueError, RuntimeError) as error:
            reason = f"rows {begin} to {end} cannot be read ({error})"
            raise FeatureFileError(self.path, reason, hint=_READ_AGAIN) from None


def open_bag(path: Path | str) -> Bag:
    """Open the features of one slide.

    Args:
        path: Its file or LazySlide store; ``S.h5::NAME`` where that holds several sets.

    Raises:
        FeatureFileError: The file is missing, broken, holds no bag or not the set that was
            named, or would have to run code to be read.
        MissingExtraError: A LazySlide store needs a package that is not installed.
    """
    try:
        return _open(Path(path))
    except OSError as error:  # gone since it was listed, not ours to read, too many files open …
        reason = f"cannot be read ({error.strerror or one_line(error)})"
        raise FeatureFileError(path, reason) from None


def _open(path: Path) -> Bag:
    path, wanted = split_selection(path)
    if is_store(path):
        store = read_store(path, wanted)
        bag = Bag(
            with_selection(path, wanted), store.features, store.coords, attributes=store.attributes
        )
        _check_shapes(bag)
        return bag
    if not path.is_file():
        raise FeatureFileError(path, "there is no such file")
    suffix = path.suffix.lower()
    if wanted is not None and suffix not in (".h5", ".hdf5"):
        raise FeatureFileError(path, f"holds one set of features, and no {wanted!r}")
    if suffix in (".h5", ".hdf5"):
        bag = _open_hdf5(path, wanted)
    elif suffix == ".pt":
        bag = Bag(path, read_pt(path), coords=None)
    elif suffix == ".npy":
        bag = Bag(path, read_npy(path), coords=None)
    elif suffix == TABLE_SUFFIX:
        bag = Bag(path, read_csv_features(path), coords=None)
    else:
        known = ", ".join((*SUFFIXES, TABLE_SUFFIX))
        raise FeatureFileError(path, f"is no feature file: known are {known}")
    _check_shapes(bag)
    return bag


def read_features(path: Path, feature_dim: int | None = None) -> NDArray[Any]:
    """All patch features [N, D] of one slide, in the type they are stored in, and checked.

    Args:
        path: The feature file.
        feature_dim: The D that they must have; None takes any.

    Raises:
        FeatureFileError: The file cannot be read.
        FeatureDimError: D is another one.
        NonFiniteFeatureError: A feature is NaN or infinite; it names file and row.
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
    try:
        file = h5py.File(path, "r")
    except OSError as error:  # HDF5 tells it at length, with the path in it
        said = os.strerror(error.errno) if error.errno else one_line(error)
        reason = f"is not a readable HDF5 file ({said})"
        raise FeatureFileError(path, reason, hint=_READ_AGAIN) from None
    features = file.get("features", file.get("feats"))
    if isinstance(features, h5py.Group):
        return _open_atlaspatch(path, file, features, wanted)
    if wanted is not None:
        file.close()
        raise FeatureFileError(path, f"holds one set of features, and no {wanted!r}")
    if not isinstance(features, h5py.Dataset):
        found = ", ".join(file) or "nothing"
        file.close()
        raise FeatureFileError(path, f"has neither 'features' nor 'feats' (found: {found})")
    coords = file.get("coords")
    attributes = {**file.attrs, **features.attrs}
    if isinstance(coords, h5py.Dataset):
        attributes |= dict(coords.attrs)
    else:
        coords = None
    if not attributes.get("complete", True):
        file.close()
        raise FeatureFileError(path, "was not written to its end", hint=_READ_AGAIN)
    unit = "um" if file.attrs.get("unit") == "um" else "level0_px"
    return Bag(path, DatasetRows(features), coords, unit, attributes, file)


def _open_atlaspatch(path: Path, file: h5py.File, sets: h5py.Group, wanted: str | None) -> Bag:
    """A bag of AtlasPatch: ``coords`` are x, y, read_w, read_h, level."""
    try:
        names = [name for name, each in sets.items() if isinstance(each, h5py.Dataset)]
        name = choose_set(path, names, wanted)
        coords = file.get("coords")
        attributes = {**file.attrs, **sets[name].attrs, "encoder": name}
        if isinstance(coords, h5py.Dataset):
            attributes |= dict(coords.attrs)
            if "patch_size_level0" not in attributes and coords.ndim == 2 and coords.shape[1] == 5:
                sizes = np.unique(coords[:, 2:], axis=0)
                if len(sizes) == 1 and sizes[0, 2] == 0:  # all were read at level 0, in one size
                    attributes["patch_size_level0"] = int(sizes[0, 0])
        else:
            coords = None
    except (FeatureFileError, OSError) as error:
        file.close()
        if isinstance(error, FeatureFileError):
            raise
        raise FeatureFileError(path, f"cannot be read ({one_line(error)})") from None
    features = DatasetRows(sets[name])
    return Bag(with_selection(path, wanted), features, coords, attributes=attributes, file=file)


def _check_shapes(bag: Bag) -> None:
    shape = bag.features.shape
    if shape == (0,):  # TRIDENT's empty bag of an encoder that does not tell its D
        return
    fault = None
    if len(shape) != 2:
        fault = f"features must be [N, D], found {list(shape)}"
    elif np.dtype(bag.features.dtype).kind != "f":
        fault = f"features must be floating point, found {bag.features.dtype}"
    elif bag.coords is not None and len(bag.coords) != shape[0]:
        fault = f"{shape[0]} rows of features, but {len(bag.coords)} of coords"
    if fault:
        bag.close()
        raise FeatureFileError(bag.path, fault)
