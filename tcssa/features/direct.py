"""Rows of an HDF5 dataset, read past the HDF5 library where that is possible.

The library does one thing at a time, however many threads ask: two that read slides are slower
than one; and it takes long over blocks of one row, which TRIDENT writes. Where a dataset's blocks
hold whole rows, plain or compressed by deflate, they are read from the file itself: every thread
reads and unpacks on its own, and neighbours in the file are read at once.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5 import BlockTable, block_table, filters_of, require_findable

_MOST_BYTES = 1 << 25
"""Of a block that is unpacked here: it is held beside what the caller counts."""
_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_MAX_LEVEL = 9
"""Of deflate."""
_KNOWN_FILTERS: tuple[list[int], ...] = ([], [_DEFLATE], [_SHUFFLE, _DEFLATE])


@dataclass(frozen=True)
class Blocks:
    """Where a dataset's blocks lie in its file."""

    file: int
    """The descriptor that the library holds: of the very file that it opened."""
    rows: int
    """Of each; the last one may be filled up."""
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Bytes as they are stored."""
    filters: list[int]
    """What blocks went through, in this order."""


class DatasetRows:
    """A dataset [N, D] whose rows are read faster; else it is the dataset.

    Args:
        dataset: The dataset; of use as long as its file is open.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._blocks: Blocks | None = None
        self._is_looked_up = False
        self._unpacked: tuple[int, NDArray[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "_dataset":  # of an object that was never made
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: Any) -> Any:
        """Read what the dataset gives.

        Raises:
            OSError: The file cannot be read.
            UnsoundError: It ends too early or is closed, or a block is missing or damaged.
        """
        if not isinstance(key, slice) or key.step not in (None, 1):
            return self._dataset[key]
        if not self._dataset:  # else its file's descriptor may be another file's by now
            raise UnsoundError("the file is closed")
        begin, end, _ = key.indices(len(self))
        if not self._is_looked_up:
            self._blocks, self._is_looked_up = find_blocks(self._dataset), True
        if self._blocks is None or end <= begin:
            return self._dataset[begin:end]
        found = np.empty((end - begin, self.shape[1]), self.dtype)
        read = self._read_packed if self._blocks.filters else self._read_plain
        read(self._blocks, begin, found)
        return found

    def _read_plain(self, blocks: Blocks, begin: int, target: NDArray[Any]) -> None:
        """Fill an array with the rows from ``begin`` on, neighbours in the file at once."""
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
        """The same from blocks that must be unpacked."""
        done = 0
        while done < len(target):
            block, first = divmod(begin + done, blocks.rows)
            rows = self._unpack(blocks, block)[first : first + len(target) - done]
            target[done : done + len(rows)] = rows
            done += len(rows)

    def _unpack(self, blocks: Blocks, block: int) -> NDArray[Any]:
        """A block; the last one is kept, since slices seldom end where blocks do."""
        if (kept := self._unpacked) is not None and kept[0] == block:
            return kept[1]
        stored = np.empty(blocks.sizes[block], np.uint8)
        _read(blocks.file, stored, int(blocks.offsets[block]))
        expected = blocks.rows * self.shape[1] * self.dtype.itemsize
        content = np.frombuffer(_inflated(stored.data, expected), np.uint8)
        if _SHUFFLE in blocks.filters:  # the first bytes of all numbers, then the second ones …
            content = np.ascontiguousarray(content.reshape(self.dtype.itemsize, -1).T)
        values: NDArray[Any] = content.reshape(-1).view(self.dtype).reshape(blocks.rows, -1)
        self._unpacked = (block, values)
        return values


def _inflated(stored: memoryview, expected: int) -> bytes:
    """Unpack a block of deflate and verify its checksum, as HDF5 does.

    Raises:
        UnsoundError: It is damaged, or of another length.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(stored, expected)
        # the checksum stands behind the last byte, and is looked at when more is asked for
        more = unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise UnsoundError(f"a block cannot be unpacked: {error}") from None
    if len(content) != expected or more or not unpacker.eof:
        raise UnsoundError("a block cannot be unpacked: it is of another length")
    return content


def _read(file: int, target: NDArray[Any], offset: int) -> None:
    """Fill an array from a place in a file."""
    rest = target.reshape(-1).view(np.uint8).data
    while rest:
        count = os.preadv(file, [rest], offset)
        if count == 0:
            raise UnsoundError("the file ends too early")
        rest, offset = rest[count:], offset + count


def find_blocks(dataset: h5py.Dataset) -> Blocks | None:
    """Find where a dataset's blocks lie; None where only the library can read them.

    Raises:
        UnsoundError: A block is missing, so that the library would give zeros.
    """
    if dataset.ndim != 2 or 0 in dataset.shape:
        return None
    table = None if dataset.chunks is None else block_table(dataset)
    blocks = _read_here(dataset, table)
    if blocks is None and table is not None:
        require_findable(dataset, table)
    return blocks


def _is_usual(dataset: h5py.Dataset, kind: int, settings: Sequence[int]) -> bool:
    """Return whether a filter is set as HDF5 sets it; it works, or refuses, by its settings."""
    if kind == _SHUFFLE:
        return tuple(settings) == (dataset.dtype.itemsize,)
    return len(settings) == 1 and settings[0] <= _MAX_LEVEL


def _read_here(dataset: h5py.Dataset, table: BlockTable | None) -> Blocks | None:
    """Return where a dataset's blocks lie, if they are of a kind that is read here."""
    filters = filters_of(dataset)
    plist = dataset.id.get_create_plist()
    is_plain = (
        hasattr(os, "preadv")
        and dataset.dtype.isnative
        and h5py.h5t.py_create(dataset.dtype) == dataset.id.get_type()  # not so of bfloat16
        and filters in _KNOWN_FILTERS
        and all(_is_usual(dataset, *plist.get_filter(i)[::2]) for i in range(len(filters)))
        and dataset.file.userblock_size == 0
        and dataset.file.driver == "sec2"  # what holds a descriptor
    )
    if not is_plain:
        return None
    file = dataset.file.id.get_vfd_handle()
    if dataset.chunks is None:
        # None of what lies in the header
        offset = dataset.id.get_offset()
        if offset is None:
            return None
        size = dataset.size * dataset.dtype.itemsize
        return Blocks(file, len(dataset), np.array([offset]), np.array([size]), filters)
    rows, width = dataset.chunks
    block_bytes = rows * width * dataset.dtype.itemsize
    if width != dataset.shape[1] or (filters and block_bytes > _MOST_BYTES):
        return None
    # a filter was left out for some blocks, or some lie at no place in the file
    if table is None or table.skips_filters:
        return None
    if (table.offsets + table.sizes).max() > os.fstat(file).st_size:
        return None
    return Blocks(file, rows, table.offsets, table.sizes, filters)
