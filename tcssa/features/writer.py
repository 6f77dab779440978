"""Writing the bag of one slide, in TRIDENT's layout with attributes of our own.

Rows are appended batch by batch, so a slide of any size needs the memory of one batch. The file
gets its name only when it is complete and on the disk: a file that exists is finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError
from tcssa.features.guarded import GuardedFile
from tcssa.files import atomic
from tcssa.files.forwarding import shown
from tcssa.version import __version__

CHUNK_ROWS = 1024
"""Rows of a chunk. A bag is read eight times as fast as with TRIDENT's chunks of one row. A smaller
bag has one chunk of its own size: HDF5 stores chunks whole."""

Attribute = str | int | float | bool


@dataclass(frozen=True)
class BagHeader:
    """Attributes of a bag's file.

    Attributes:
        name: The slide_id.
        savetodir: The folder of the grid; the features are in a subfolder of it.
        coords: Further attributes of ``coords``, which describe the grid.
        ours: Attributes of both datasets: resolution, parameters.
        encoder: The encoder's name.
        features: Attributes of the features alone.
    """

    name: str
    savetodir: Path
    coords: Mapping[str, Attribute]
    ours: Mapping[str, Attribute] = field(default_factory=dict)
    encoder: str = "None"
    features: Mapping[str, Attribute] = field(default_factory=dict)


class FeatureWriter:
    """Writer of the features of one slide; made by `writing_features`."""

    def __init__(
        self,
        path: Path,
        file: h5py.File,
        disk: GuardedFile,
        shape: tuple[int, int],
        dtype: str,
        with_coords: bool = True,
    ) -> None:
        num_expected, feature_dim = shape
        self.path = path
        self._disk = disk
        self.num_patches = 0
        self.num_failed = 0
        """Patches that could not be read."""
        self._features = file.create_dataset(
            "features",
            shape=(0, feature_dim),
            maxshape=(None, feature_dim),
            chunks=(min(max(num_expected, 1), CHUNK_ROWS), feature_dim),
            dtype=dtype,
        )
        self._coords = _empty_coords(file, "coords") if with_coords else None
        self._failed = _empty_coords(file, "failed_coords") if with_coords else None

    def append(self, features: NDArray[Any], coords: NDArray[np.int64] | None) -> None:
        """Append patches to the file.

        Args:
            features: Features ``[b, d]``.
            coords: Their corners (x, y) in level-0 pixels, ``[b, 2]``; None in a file without
                coordinates.

        Raises:
            FeatureFileError: A feature is not finite in the type it is stored in.
            OSError: The disk did not take the data.
        """
        stored = as_stored(self.path, features, coords, self._features.dtype)
        _append(self._features, stored)
        if self._coords is not None:
            assert coords is not None
            _append(self._coords, coords)
        self._disk.check()
        self.num_patches += len(stored)

    def fail(self, coords: NDArray[np.int64]) -> None:
        """Record the level-0 corners ``[b, 2]`` of patches that could not be read."""
        _append(self._failed, coords)
        self.num_failed += len(coords)

    def describe(self, header: BagHeader) -> None:
        """Write all attributes; the last step of writing a file."""
        ours = {**header.ours, **_stamp(self.num_failed)}
        if self._coords is not None:
            _describe_coords(self._coords, header, ours)
        self._features.attrs.update(
            name=header.name,
            savetodir=shown(str(self.path.parent.resolve())),
            encoder=header.encoder,
            **ours,
            **header.features,
        )


@contextmanager
def writing_features(
    path: Path,
    header: BagHeader,
    *,
    num_expected: int,
    feature_dim: int,
    dtype: str = "float32",
    with_coords: bool = True,
) -> Iterator[FeatureWriter]:
    """Write the features of one slide; the file exists once the block ends without an error.

    Args:
        path: The file to create.
        header: Its attributes.
        num_expected: Approximate number of patches; sets the size of chunks.
        feature_dim: Length of a feature, D.
        dtype: Type that features are stored in, ``float32`` or ``float16``.
        with_coords: Whether the patches' coordinates are known.

    Yields:
        The writer to append patches to.

    Raises:
        DiskFullError: There is no space left.
    """
    with new_file(path) as (file, disk):
        shape = (num_expected, feature_dim)
        writer = FeatureWriter(path, file, disk, shape, dtype, with_coords)
        yield writer
        writer.describe(header)


def write_coords(path: Path, header: BagHeader, coords: NDArray[np.int64]) -> None:
    """Write the patch grid of one slide, without features.

    Args:
        path: The file to create.
        header: Its attributes.
        coords: Corners (x, y) in level-0 pixels, ``[n, 2]``.

    Raises:
        DiskFullError: There is no space left.
    """
    with new_file(path) as (file, _):
        dataset = _empty_coords(file, "coords")
        _append(dataset, coords)
        _describe_coords(dataset, header, {**header.ours, **_stamp(0)})


def as_stored(
    path: Path, features: NDArray[Any], coords: NDArray[Any] | None, dtype: Any
) -> NDArray[Any]:
    """Convert features to the type that they are stored in.

    Args:
        path: The file, for errors.
        features: Features ``[b, d]``.
        coords: The patches' coordinates ``[b, 2]``, for errors; None names rows instead.
        dtype: The type.

    Raises:
        FeatureFileError: A feature is not finite in that type; the error names the patch.
    """
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    if not np.isfinite(stored).all():
        row = int(np.flatnonzero(~np.isfinite(stored).all(axis=1))[0])
        where = f"of row {row}" if coords is None else f"at x, y = {coords[row].tolist()}"
        raise FeatureFileError(
            path,
            f"the features of the patch {where} are not finite in {stored.dtype}",
            hint="store float32, or look at this place of the slide",
        )
    return stored


@contextmanager
def new_file(path: Path) -> Iterator[tuple[h5py.File, GuardedFile]]:
    """Create an HDF5 file, which exists once the block ends without an error.

    Yields:
        The file, and the file object that guards its writes.

    Raises:
        DiskFullError: There is no space left.
    """
    with atomic.replacing(path) as temporary, closing(GuardedFile(temporary)) as disk:
        with h5py.File(disk, "w") as file:
            yield file, disk
        disk.check()


def _empty_coords(file: h5py.File, name: str) -> Any:
    return file.create_dataset(
        name, shape=(0, 2), maxshape=(None, 2), chunks=(CHUNK_ROWS, 2), dtype=np.int64
    )


def _append(dataset: Any, rows: NDArray[Any]) -> None:
    begin = dataset.shape[0]
    dataset.resize(begin + len(rows), axis=0)
    dataset[begin:] = rows


def _describe_coords(dataset: Any, header: BagHeader, ours: Mapping[str, Attribute]) -> None:
    dataset.attrs.update(
        name=header.name, savetodir=shown(str(header.savetodir.resolve())), **header.coords, **ours
    )


def _stamp(num_failed: int) -> dict[str, Attribute]:
    return {"tcssa_version": __version__, "n_failed": num_failed, "complete": True}
