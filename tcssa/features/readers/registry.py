"""Readers of feature files, by suffix.

Every layout of the field becomes the same `Bag`: rows of features, and corners in level-0
pixels where the file has them. The layouts (see docs/formats.md) differ in names only:

- TRIDENT and ours: HDF5 ``features``, ``coords`` with attributes;
- CLAM: HDF5 ``features``, ``coords`` without attributes, or a ``.pt`` tensor;
- STAMP: HDF5 ``feats``, ``coords`` in µm, attributes at the root;
- the TC-SSA reference: a ``.pt`` tensor, or a dict with ``features`` or ``feat``;
- AtlasPatch: HDF5 ``features``, a group of datasets, and ``coords`` of five columns;
- LazySlide: a Zarr store (`tcssa.features.readers.lazyslide`);
- plain ``.npy`` arrays;
- SlideChat's ``.npy``, which pickles a dict (`tcssa.features.readers.slidechat`);
- tables of patches in ``.csv``, as SlideChat and DSMIL write them
  (`tcssa.features.readers.patch_table`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.features.bag import Bag
from tcssa.features.feature_set_path import BagRef
from tcssa.features.lazyslide_store import STORE_SUFFIX, is_store
from tcssa.features.readers.array_files import read_npy, read_pt
from tcssa.features.readers.hdf5 import read_hdf5
from tcssa.features.readers.lazyslide import read_store
from tcssa.features.readers.patch_table import read_csv_features
from tcssa.files.boundary import require_file

TABLE_SUFFIX = ".csv"
"""Suffix of a table of patches; in a folder it counts only where there is no other kind, since
label tables lie beside features."""

LOADED_WHOLE = (".pt", TABLE_SUFFIX)
"""Files that cannot be read in parts."""

Reader = Callable[[BagRef], Bag]
"""Opens a bag."""


def _one_array(read: Callable[[Path], NDArray[Any]]) -> Reader:
    """Make a reader of files that hold one bare array."""

    def read_bag_of(ref: BagRef) -> Bag:
        if ref.set_name is not None:
            raise FeatureFileError(ref.path, f"holds one set of features, and no {ref.set_name!r}")
        return Bag(ref, read(ref.path), coords=None)

    return read_bag_of


def _read_lazyslide(ref: BagRef) -> Bag:
    store = read_store(ref)
    return Bag(ref, store.features, store.coords, attributes=store.attributes)


READERS: dict[str, Reader] = {
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".pt": _one_array(read_pt),
    ".npy": _one_array(read_npy),
    STORE_SUFFIX: _read_lazyslide,
    TABLE_SUFFIX: _one_array(read_csv_features),
}
"""Reader of each suffix."""

SUFFIXES = tuple(suffix for suffix in READERS if suffix != TABLE_SUFFIX)
"""Suffixes of a bag's file name; that of a store is a folder's."""


def read_bag(ref: BagRef) -> Bag:
    """Open the features of one slide with the reader of its suffix.

    Raises:
        FeatureFileError: The file is missing or broken, no reader has its suffix, or it lacks the
            set that was named.
        MissingExtraError: A LazySlide store needs a package that is not installed.
    """
    path = ref.path
    if is_store(path):
        return READERS[STORE_SUFFIX](ref)
    require_file(path, FeatureFileError)
    reader = READERS.get(path.suffix.lower())
    if reader is None or path.suffix.lower() == STORE_SUFFIX:
        known = ", ".join(READERS)
        raise FeatureFileError(path, f"is no feature file: known are {known}")
    return reader(ref)
