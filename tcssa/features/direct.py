"""Rows of an HDF5 dataset, read past the HDF5 library where that is possible.

The library does one thing at a time, however many threads ask: two that read slides are slower
than one; and it takes long over blocks of one row, which TRIDENT writes. Where a dataset's blocks
hold whole rows, plain or compressed by deflate, they are read from the file itself: every thread
reads and unpacks on its own, and neighbours in the file are read at once.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_FEW = 64
"""Rows that are not worth looking up where all blocks lie."""
_MOST_BYTES = 1 << 25
"""Of a block that is unpacked here: it is held beside what the caller counts."""
_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
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
        """What the dataset gives.

        Raises:
            OSError: The file cannot be read.
            ValueError: It ends too early or is closed, or a block cannot be unpacked.
        """
        if not isinstance(key, slice) or key.step not in (None, 1):
            return self._dataset[key]
        if not self._dataset:  # else its file's descriptor may be another file's by now
            raise ValueError("the file is closed")
        begin, end, _ = key.indices(len(self))
        if not self._is_looked_up and end - begin > _FEW:
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
        try:
            unpacked = zlib.decompressobj().decompress(stored.data, expected)
        except zlib.error as error:
            raise ValueError(f"a block cannot be unpacked: {error}") from None
        content = np.frombuffer(unpacked, np.uint8)
        if content.size != expected:
            raise ValueError("a block is too short")
        if _SHUFFLE in blocks.filters:  # the first bytes of all numbers, then the second ones …
            content = np.ascontiguousarray(content.reshape(self.dtype.itemsize, -1).T)
        values: NDArray[Any] = content.reshape(-1).view(self.dtype).reshape(blocks.rows, -1)
        self._unpacked = (block, values)
        return values


def _read(file: int, target: NDArray[Any], offset: int) -> None:
    """Fill an array from a place in a file."""
    rest = target.reshape(-1).view(np.uint8).data
    while rest:
        count = os.preadv(file, [rest], offset)
        if count == 0:
            raise ValueError("the file ends too early")
        rest, offset = rest[count:], offset + count


def find_blocks(dataset: h5py.Dataset) -> Blocks | None:
    """Where a dataset's blocks lie; None where only the library can read them."""
    if not hasattr(os, "preadv") or dataset.ndim != 2 or 0 in dataset.shape:
        return None
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    is_plain = (
        dataset.dtype.isnative
        and h5py.h5t.py_create(dataset.dtype) == dataset.id.get_type()  # not so of bfloat16
        and filters in _KNOWN_FILTERS
        and dataset.file.userblock_size == 0
        and dataset.file.driver == "sec2"  # what holds a descriptor
    )
    if not is_plain:
        return None
    file = dataset.file.id.get_vfd_handle()
    if dataset.chunks is None:
        # None of what lies in the header, in other files or nowhere
        offset = dataset.id.get_offset()
        if offset is None:
            return None
        size = dataset.size * dataset.dtype.itemsize
        return Blocks(file, len(dataset), np.array([offset]), np.array([size]), filters)
    if dataset.chunks[1] != dataset.shape[1] or not hasattr(dataset.id, "chunk_iter"):
        return None
    if filters and np.prod(dataset.chunks) * dataset.dtype.itemsize > _MOST_BYTES:
        return None
    return _chunks(dataset, file, filters)


def _chunks(dataset: h5py.Dataset, file: int, filters: list[int]) -> Blocks | None:
    rows = dataset.chunks[0]
    count = -(-len(dataset) // rows)
    offsets, sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    is_masked = False

    def note(chunk: Any) -> None:  # h5py's StoreInfo, without types
        nonlocal is_masked
        block = chunk.chunk_offset[0] // rows
        offsets[block], sizes[block] = chunk.byte_offset, chunk.size
        is_masked |= chunk.filter_mask != 0

    try:
        dataset.id.chunk_iter(note)
    except (OverflowError, IndexError):  # no place in any file: the library will say so
        return None
    if is_masked or not sizes.all():  # a filter was left out for some, or some were never written
        return None
    if (offsets + sizes).max() > os.fstat(file).st_size:
        return None
    return Blocks(file, rows, offsets, sizes, filters)
