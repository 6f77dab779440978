"""Packed blocks of HDF5 datasets, unpacked here and not by the library.

The library trusts its filters: where a block unpacks to fewer bytes than its numbers take, the rest
is whatever lay in memory before. So a block that went through a filter is read from the file
and unpacked here, each length and each checksum verified. The filters are gzip, lzf,
shuffle and the checksum of Fletcher, in the order that h5py gives them (HDF5 File Format
Specification 3.0, IV.A.2.l).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

from tcssa.files.boundary import UnsoundError

SHUFFLE, DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
FLETCHER32, LZF = h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF
_STAGE = {SHUFFLE: 0, DEFLATE: 1, LZF: 1, FLETCHER32: 2}
"""One of each stage at most, and in this order."""
_MAX_LEVEL = 9
"""Highest level of deflate."""
_CHECKSUM_BYTES = 4
_WORDS = 2**16
"""Words summed up at once: their weighted sum fits into 64 bits."""
Buffer = memoryview | bytes | bytearray
_LONG = 7
"""Length in LZF that continues in the next byte."""


def filters_of(dataset: h5py.Dataset) -> list[int]:
    """List the filters that blocks of a dataset go through when they are written, in order.

    Raises:
        UnsoundError: A filter is not among those that are unpacked here, or filters are in another
            order or set in another way than by h5py.
    """
    plist = dataset.id.get_create_plist()
    item_bytes = dataset.id.get_type().get_size()
    block_bytes = item_bytes * math.prod(dataset.chunks or ())
    filters: list[int] = []
    for index in range(plist.get_nfilters()):
        kind, _, settings = plist.get_filter(index)[:3]
        if kind not in _STAGE or not _is_usual(kind, settings, item_bytes, block_bytes):
            raise UnsoundError(f"its blocks went through the filter {kind}, which is not read")
        if filters and _STAGE[kind] <= _STAGE[filters[-1]]:
            raise UnsoundError(f"its blocks went through the filters {[*filters, kind]} in a row")
        filters.append(kind)
    return filters


def _is_usual(kind: int, settings: Sequence[int], item_bytes: int, block_bytes: int) -> bool:
    """Tell whether a filter is set as h5py sets it; HDF5 works, or refuses, by its settings."""
    if kind == SHUFFLE:
        return tuple(settings) == (item_bytes,)
    if kind == LZF:  # two versions, and the length
        return tuple(settings[2:]) in ((), (block_bytes,))
    return kind != DEFLATE or (len(settings) == 1 and settings[0] <= _MAX_LEVEL)


def unpacked(
    stored: memoryview, filters: Sequence[int], item_bytes: int, block_bytes: int
) -> NDArray[np.uint8]:
    """Unpack a block.

    Args:
        stored: The block's bytes in the file.
        filters: The filters that it went through, of those that `filters_of` lists.
        item_bytes: Bytes of a number.
        block_bytes: Bytes of all numbers of the block.

    Returns:
        The bytes of the numbers, in C order.

    Raises:
        UnsoundError: The block is damaged: it cannot be unpacked, or has another length or
            checksum.
    """
    content: Buffer = stored
    if FLETCHER32 in filters:
        content = _verified(stored)
    if DEFLATE in filters:
        content = _inflated(content, block_bytes)
    elif LZF in filters:
        content = _unlzf(bytes(content), block_bytes)
    if len(content) != block_bytes:
        raise UnsoundError("a block cannot be unpacked: it is of another length")
    numbers = np.frombuffer(content, np.uint8)
    if SHUFFLE in filters:  # the first bytes of all numbers, then the second ones …
        numbers = np.ascontiguousarray(numbers.reshape(item_bytes, -1).T).reshape(-1)
    return numbers


def _inflated(stored: Buffer, expected: int) -> bytes:
    """Unpack a block of deflate and verify its checksum."""
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


def _unlzf(stored: bytes, expected: int) -> bytearray:
    """Unpack a block of LZF: runs of bytes, and repetitions of what came before."""
    content, at = bytearray(), 0
    try:
        while at < len(stored) and len(content) <= expected:
            control = stored[at]
            at += 1
            if control < 2**5:
                run = stored[at : at + control + 1]
                if len(run) <= control:
                    raise IndexError
                content += run
                at += control + 1
                continue
            length = control >> 5
            if length == _LONG:
                length += stored[at]
                at += 1
            length += 2
            begin = len(content) - ((control & 0x1F) << 8) - stored[at] - 1
            at += 1
            if begin < 0:
                raise IndexError
            repeated = content[begin : begin + length]  # shorter where it runs into itself
            content += (repeated * -(-length // len(repeated)))[:length]
    except IndexError:
        raise UnsoundError("a block cannot be unpacked: it is damaged") from None
    return content


def _verified(stored: memoryview) -> memoryview:
    """Verify the checksum of Fletcher at the end of a block; return what stands before it."""
    content, kept = stored[:-_CHECKSUM_BYTES], bytes(stored[-_CHECKSUM_BYTES:])
    if int.from_bytes(kept, "little") != fletcher32(content):
        raise UnsoundError("a block is damaged: its checksum is another one")
    return content


def fletcher32(content: memoryview) -> int:
    """Compute the checksum that HDF5 keeps of a block.

    Two sums over words of 16 bits, high byte first, modulo 65535: of the words, and of the sums so
    far. A sum that is not 0 is never written as 0, but as 65535.
    """
    whole = bytes(content) + b"\0" * (len(content) % 2)
    words = np.frombuffer(whole, ">u2").astype(np.uint64)
    one = two = 0
    for begin in range(0, len(words), _WORDS):
        part = words[begin : begin + _WORDS]
        left = np.arange(len(part), 0, -1, dtype=np.uint64)
        two += len(part) * one + int((part * left).sum())
        one += int(part.sum())
    one, two = ((total - 1) % 65535 + 1 if total else 0 for total in (one, two))
    return two << 16 | one
