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
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_FEW = 64
"""Rows that are not worth looking up where all blocks lie."""
_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_KNOWN_FILTERS: tuple[list[int], ...] = ([], [_DEFLATE], [_SHUFFLE, _DEFLATE])


@dataclass(frozen=True)
class Blocks:
    """Where a dataset's blocks lie in its file."""

    rows: int
    """Of each; the last one may be filled up."""
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Bytes as they are stored."""
    filters: list[int]
    """What blocks went through, in this order."""


class DatasetRows:
    """A dataset [N, D] to be sliced by rows.

    Args:
        dataset: The dataset, in an open file.
        path: Its file.
    """

    def __init__(self, dataset: h5py.Dataset, path: Path) -> None:
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self.name: str = dataset.name
        self._dataset, self._path = dataset, path
        self._blocks: Blocks | None = None
        self._is_looked_up = False
        self._file: int | None = None
        self._unpacked: tuple[int, NDArray[Any]] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """The rows of a slice without steps.

        Raises:
            OSError: The file cannot be read.
            ValueError: It ends too early, or a block cannot be unpacked.
        """
        begin, end, _ = rows.indices(len(self))
        if not self._is_looked_up and end - begin > _FEW:
            self._blocks, self._is_looked_up = find_blocks(self._dataset), True
        if self._blocks is None or end <= begin:
            return np.asarray(self._dataset[begin:end])
        found = np.empty((end - begin, self.shape[1]), self.dtype)
        read = self._read_packed if self._blocks.filters else self._read_plain
        read(self._blocks, begin, found)
        return found

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

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
            self._read(target[first:end], int(place))

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
        if self._unpacked is None or self._unpacked[0] != block:
            stored = np.empty(blocks.sizes[block], np.uint8)
            self._read(stored, int(blocks.offsets[block]))
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
            values = content.reshape(-1).view(self.dtype).reshape(blocks.rows, self.shape[1])
            self._unpacked = (block, values)
        return self._unpacked[1]

    def _read(self, target: NDArray[Any], offset: int) -> None:
        """Fill an array from a place in the file."""
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY)
        rest = target.reshape(-1).view(np.uint8).data
        while rest:
            count = os.preadv(self._file, [rest], offset)
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
        and filters in _KNOWN_FILTERS
        and not dataset.is_virtual
        and plist.get_external_count() == 0
        and dataset.file.userblock_size == 0
    )
    if not is_plain:
        return None
    if dataset.chunks is None:
        offset = dataset.id.get_offset()  # None of what lies in the header, or was never written
        if offset is None:
            return None
        size = dataset.size * dataset.dtype.itemsize
        return Blocks(len(dataset), np.array([offset]), np.array([size]), filters)
    if dataset.chunks[1] != dataset.shape[1] or not hasattr(dataset.id, "chunk_iter"):
        return None
    return _chunks(dataset, filters)


def _chunks(dataset: h5py.Dataset, filters: list[int]) -> Blocks | None:
    rows = dataset.chunks[0]
    count = -(-len(dataset) // rows)
    offsets, sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    is_masked = False

    def note(chunk: Any) -> None:  # h5py's StoreInfo, without types
        nonlocal is_masked
        block = chunk.chunk_offset[0] // rows
        if block < count:  # a dataset that was made shorter may keep some
            offsets[block], sizes[block] = chunk.byte_offset, chunk.size
        is_masked |= chunk.filter_mask != 0

    dataset.id.chunk_iter(note)
    if is_masked or not sizes.all():  # a filter was left out for some, or some were never written
        return None
    return Blocks(rows, offsets, sizes, filters)
