"""Rows of an HDF5 dataset, read past the HDF5 library where that is possible.

The library runs one call at a time, whatever the number of threads: two threads that read slides
are slower than one. It is also slow with blocks of one row, which TRIDENT writes. Where a dataset's
blocks hold whole rows, they are read from the file directly: threads read independently, and
neighbouring blocks are read together. Packed blocks, of any form, are never left to the library
(`tcssa.files.hdf5_filters`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5 import BlockTable, block_table, require_findable
from tcssa.files.hdf5_filters import filters_of, unpacked
from tcssa.files.limits import PACKED_BYTES


@dataclass(frozen=True)
class Blocks:
    """Locations of a dataset's blocks in its file."""

    file: int
    """The library's own descriptor, so that it is the very file that it opened."""
    rows: int
    """Rows of a block; the last one may be padded."""
    width: int
    """Columns of a block, likewise."""
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Bytes of each block as stored."""
    masks: NDArray[np.int64]
    """Filters that were skipped for each block, one bit each."""
    filters: list[int]
    """Filters that were applied to the blocks, in order; none for plain blocks."""


class DatasetRows:
    """A dataset [N, D] or [1, N, D] as rows [N, D], read faster than by the library where possible.

    Args:
        dataset: The dataset; its file must stay open.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._blocks: Blocks | None = None
        self._is_looked_up = False
        self._unpacked: tuple[int, NDArray[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "_dataset":  # of an object whose __init__ never ran
            raise AttributeError(name)
        return getattr(self._dataset, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, without a first axis of one bag."""
        return _plane(self._dataset, self._dataset.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Read rows as the dataset itself would give them.

        Raises:
            OSError: The file cannot be read.
            UnsoundError: The file ends too early or is closed, or a block is missing or damaged.
        """
        if not isinstance(key, slice) or key.step not in (None, 1):
            return self[:][key]
        if not self._dataset:  # else its file's descriptor may be another file's by now
            raise UnsoundError("the file is closed")
        begin, end, _ = key.indices(len(self))
        if not self._is_looked_up:
            self._blocks, self._is_looked_up = find_blocks(self._dataset), True
        if self._blocks is None or end <= begin:
            is_bag = is_one_plane(self._dataset)
            return self._dataset[0, begin:end] if is_bag else self._dataset[begin:end]
        found = np.empty((end - begin, self.shape[1]), self.dtype)
        read = self._read_packed if self._blocks.filters else self._read_plain
        read(self._blocks, begin, found)
        return found

    def _read_plain(self, blocks: Blocks, begin: int, target: NDArray[Any]) -> None:
        """Fill an array with the rows from ``begin`` on, reading neighbouring blocks together."""
        row_bytes = target.strides[0]
        # where each block's first row that is wanted lies in the file, and in the target
        numbers = np.arange(begin // blocks.rows, (begin + len(target) - 1) // blocks.rows + 1)
        firsts = np.maximum(numbers * blocks.rows, begin)
        places = blocks.offsets[numbers] + (firsts - numbers * blocks.rows) * row_bytes
        apart = np.diff(places) != np.diff(firsts) * row_bytes
        starts = np.flatnonzero(np.concatenate([[True], apart]))
        ends = np.append(firsts[starts[1:]], begin + len(target)) - begin
        for place, first, end in zip(places[starts], firsts[starts] - begin, ends, strict=True):
            _read(blocks.file, target[first:end], int(place))

    def _read_packed(self, blocks: Blocks, begin: int, target: NDArray[Any]) -> None:
        """Fill an array with the rows from ``begin`` on, out of packed blocks."""
        done = 0
        while done < len(target):
            band, first = divmod(begin + done, blocks.rows)
            rows = self._unpack_band(blocks, band)[first : first + len(target) - done]
            target[done : done + len(rows)] = rows
            done += len(rows)

    def _unpack_band(self, blocks: Blocks, band: int) -> NDArray[Any]:
        """Unpack the blocks of one band of rows; keep them, as slices seldom end with a band."""
        if (kept := self._unpacked) is not None and kept[0] == band:
            return kept[1]
        across = -(-self.shape[1] // blocks.width)
        found = [self._unpack(blocks, band * across + place) for place in range(across)]
        values: NDArray[Any] = found[0] if across == 1 else np.concatenate(found, axis=1)
        values = values[:, : self.shape[1]]
        self._unpacked = (band, values)
        return values

    def _unpack(self, blocks: Blocks, block: int) -> NDArray[Any]:
        stored = np.empty(blocks.sizes[block], np.uint8)
        _read(blocks.file, stored, int(blocks.offsets[block]))
        passed = [f for i, f in enumerate(blocks.filters) if not blocks.masks[block] >> i & 1]
        num_bytes = blocks.rows * blocks.width * self.dtype.itemsize
        content = unpacked(stored.data, passed, self.dtype.itemsize, num_bytes)
        numbers: NDArray[Any] = content.view(self.dtype)
        return numbers.reshape(blocks.rows, blocks.width)


def _read(file: int, target: NDArray[Any], offset: int) -> None:
    """Fill an array from a place in a file."""
    rest = target.reshape(-1).view(np.uint8).data
    while rest:
        count = os.preadv(file, [rest], offset)
        if count == 0:
            raise UnsoundError("the file ends too early")
        rest, offset = rest[count:], offset + count


def is_one_plane(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset is one bag with an axis of its own, [1, N, D]."""
    return len(dataset.shape) == 3 and dataset.shape[0] == 1


def _plane(dataset: h5py.Dataset, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return sizes[1:] if is_one_plane(dataset) else sizes


def find_blocks(dataset: h5py.Dataset) -> Blocks | None:
    """Locate a dataset's blocks; return None where only the library can read them.

    Raises:
        UnsoundError: A block is missing, so that the library would return zeros; or the blocks are
            packed in a way that cannot be read here.
    """
    if not (dataset.ndim == 2 or is_one_plane(dataset)) or 0 in dataset.shape:
        return None
    if dataset.ndim == 3 and dataset.chunks and dataset.chunks[0] != 1:
        raise UnsoundError("its blocks are longer than it is")
    table = None if dataset.chunks is None else block_table(dataset)
    filters = [] if dataset.chunks is None else filters_of(dataset)
    if filters:
        _require_small(dataset)
    blocks = _read_here(dataset, table, filters)
    if blocks is None and filters:
        raise UnsoundError("its rows are packed, and of a type or place that is not read so")
    if blocks is None and table is not None:
        require_findable(dataset, table)
    return blocks


def _require_small(dataset: h5py.Dataset) -> None:
    """Check that a band of unpacked blocks, those of the same rows, fits into memory.

    Raises:
        UnsoundError: The band is larger than ``PACKED_BYTES`` allows.
    """
    rows, width = _plane(dataset, dataset.chunks)
    num_bytes = rows * max(width, dataset.shape[-1]) * dataset.id.get_type().get_size()
    if num_bytes > PACKED_BYTES.value():
        raise UnsoundError(
            f"{num_bytes:,} bytes are packed in one block of rows, and at most "
            f"{PACKED_BYTES.value():,} are read: set {PACKED_BYTES.variable}, or write it in "
            "smaller chunks"
        )


def _read_here(
    dataset: h5py.Dataset, table: BlockTable | None, filters: list[int]
) -> Blocks | None:
    """Locate a dataset's blocks, if they are of a kind that is read here."""
    is_plain = (
        hasattr(os, "preadv")
        and h5py.h5t.py_create(dataset.dtype) == dataset.id.get_type()  # not so of bfloat16
        and (bool(filters) or dataset.file.userblock_size == 0)
        and dataset.file.driver == "sec2"  # the driver that has a descriptor
    )
    if not is_plain:
        return None
    file = dataset.file.id.get_vfd_handle()
    num_rows, num_columns = _plane(dataset, dataset.shape)
    if dataset.chunks is None:
        # None for data that lie in the header
        offset = dataset.id.get_offset()
        if offset is None:
            return None
        size = dataset.size * dataset.dtype.itemsize
        table = BlockTable(*np.array([[offset], [size], [0]]))
        return Blocks(file, num_rows, num_columns, table.offsets, table.sizes, table.masks, [])
    if table is None:
        return None
    rows, width = _plane(dataset, dataset.chunks)
    if not filters and width != num_columns:
        return None
    # some blocks lie outside the file
    if (table.offsets + table.sizes).max() > os.fstat(file).st_size:
        return None
    return Blocks(file, rows, width, table.offsets, table.sizes, table.masks, filters)
