"""Rows of an HDF5 dataset, read past the HDF5 library.

The library does one thing at a time, however many threads ask: two that read slides are slower
than one. Where a dataset's blocks hold whole rows, plain or compressed by deflate, they are read
from the file itself, and every thread reads and unpacks by itself.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_LEAST_BYTES = 1 << 16
"""Of a block, on average: the places of smaller ones take longer to look up than the library."""
_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_KNOWN_FILTERS: tuple[list[int], ...] = ([], [_DEFLATE], [_SHUFFLE, _DEFLATE])


class DirectRows:
    """A dataset [N, D] to be sliced by rows; see `direct_rows`.

    Args:
        dataset: The dataset.
        path: Its file.
        rows: Rows of a block.
        places: Offset in the file and stored length of each block.
        filters: What blocks went through, in this order.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        path: Path,
        rows: int,
        places: Sequence[tuple[int, int]],
        filters: Sequence[int],
    ) -> None:
        self.shape: tuple[int, int] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self.name: str = dataset.name
        self._rows, self._places, self._filters = rows, places, filters
        self._unpacked: tuple[int, NDArray[Any]] | None = None
        self._file = os.open(path, os.O_RDONLY)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """The rows of a slice without steps.

        Raises:
            OSError: The file cannot be read.
            ValueError: It ends too early, or a block cannot be unpacked.
        """
        begin, end, _ = rows.indices(len(self))
        found = np.empty((max(0, end - begin), self.shape[1]), self.dtype)
        while begin < end:
            block, first = divmod(begin, self._rows)
            last = min(self._rows, first + end - begin)
            target = found[len(found) - (end - begin) :][: last - first]
            if self._filters:
                target[:] = self._unpack(block)[first:last]
            else:
                self._read(target, self._places[block][0] + first * found.strides[0])
            begin += last - first
        return found

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _read(self, target: NDArray[Any], offset: int) -> None:
        """Fill an array from a place in the file."""
        rest = target.reshape(-1).view(np.uint8).data
        while rest:
            count = os.preadv(self._file, [rest], offset)
            if count == 0:
                raise ValueError("the file ends too early")
            rest, offset = rest[count:], offset + count

    def _unpack(self, block: int) -> NDArray[Any]:
        """A block; the last one is kept, since slices seldom end where blocks do."""
        if self._unpacked is None or self._unpacked[0] != block:
            offset, length = self._places[block]
            stored = np.empty(length, np.uint8)
            self._read(stored, offset)
            expected = self._rows * self.shape[1] * self.dtype.itemsize
            try:
                unpacked = zlib.decompressobj().decompress(stored.data, expected)
            except zlib.error as error:
                raise ValueError(f"a block cannot be unpacked: {error}") from None
            content = np.frombuffer(unpacked, np.uint8)
            if content.size != expected:
                raise ValueError("a block is too short")
            if _SHUFFLE in self._filters:  # first bytes of all numbers, then second…
                content = np.ascontiguousarray(content.reshape(self.dtype.itemsize, -1).T)
            values = content.reshape(-1).view(self.dtype).reshape(self._rows, self.shape[1])
            self._unpacked = (block, values)
        return self._unpacked[1]


def direct_rows(dataset: h5py.Dataset, path: Path) -> DirectRows | None:
    """A dataset's rows, or None where only the library can read them.

    Args:
        dataset: The dataset, in an open file.
        path: The file.
    """
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
    rows, places = len(dataset), _places(dataset)
    if dataset.chunks is not None:
        rows = dataset.chunks[0]
        if dataset.chunks[1] != dataset.shape[1]:
            return None
    if places is None:
        return None
    return DirectRows(dataset, path, rows, places, filters)


def _places(dataset: h5py.Dataset) -> list[tuple[int, int]] | None:
    """Offset and stored length of each block; None if one is not there, or there are too many."""
    num_bytes = dataset.size * dataset.dtype.itemsize
    if dataset.chunks is None:
        offset = dataset.id.get_offset()  # None of what lies in the header
        return None if offset is None else [(offset, num_bytes)]
    num_blocks = -(-len(dataset) // dataset.chunks[0])
    if num_bytes < num_blocks * _LEAST_BYTES and num_blocks > 1:
        return None
    if dataset.id.get_num_chunks() != num_blocks:
        return None
    found = [dataset.id.get_chunk_info(i) for i in range(num_blocks)]
    if any(block.filter_mask for block in found):
        return None
    found.sort(key=lambda block: block.chunk_offset[0])
    return [(block.byte_offset, block.size) for block in found]
