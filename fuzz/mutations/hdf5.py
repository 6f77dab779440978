"""Damage to HDF5: superblock, object headers, B-trees, heaps and the blocks of data."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache, partial
from random import Random
from typing import Any

import h5py

from fuzz.mutations.fields import Field, Layout, Repair, mutate_fields
from fuzz.mutations.lookup3 import lookup3

_SIGNATURES = (
    b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD",
    b"BTLF", b"BTIN", b"FAHD", b"FADB", b"EAHD", b"EAIB", b"EADB", b"EASB",
)  # fmt: skip
_MOST_CHECKED = 300
"""Bytes under one checksum of metadata; small files have no more."""
_SUPERBLOCK_FIELDS: dict[int, tuple[tuple[int, int], ...]] = {
    0: ((8, 1), (10, 1), (13, 1), (14, 1), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8),
        (48, 8), (56, 8), (64, 8), (72, 4), (80, 8), (88, 8)),
    2: ((8, 1), (9, 1), (10, 1), (11, 1), (12, 8), (20, 8), (28, 8), (36, 8)),
}  # fmt: skip


def mutate_hdf5(rng: Random, seed: bytes) -> bytes:
    """Damage an HDF5 file."""
    return mutate_fields(rng, seed, layout_of(seed))


@cache
def layout_of(seed: bytes) -> Layout:
    """Find the parts of a small HDF5 file."""
    version = 2 if seed[8] >= 2 else 0
    fields = [Field(at, width) for at, width in _SUPERBLOCK_FIELDS[version]]
    starts = sorted({at for mark in _SIGNATURES for at in _places(seed, mark)})
    blocks: list[tuple[int, int]] = []
    repairs: list[Repair] = []
    with h5py.File(io.BytesIO(seed), "r") as file:
        objects = [file, *_objects(file)]
        starts = sorted({*starts, *(h5py.h5o.get_info(each.id).addr for each in objects)})
        for each in objects:
            if isinstance(each, h5py.Dataset):
                found = list(_data_blocks(each))
                blocks += found
                repairs += [partial(fix, begin, size) for fix in _filters(each)
                            for begin, size in found]  # fmt: skip
    ends = sorted([*starts, *(begin for begin, _ in blocks), len(seed)])
    headers = []
    for at in starts:
        end = min(next(end for end in ends if end > at), at + 512)
        used = len(seed[at:end].rstrip(b"\0"))  # the rest of a node waits for more entries
        headers.append((at, used))
        words = [Field(at + offset, 8) for offset in range(8, used, 8)]
        fields += [word for word in words if any(seed[word.at : word.at + 8])]
    if version:
        repairs += [partial(_fix_lookup3, at, size) for at, size in _checked(seed, [0, *starts])]
    return Layout(fields, headers, blocks, repairs)


def _places(seed: bytes, mark: bytes) -> Iterator[int]:
    at = seed.find(mark)
    while at >= 0:
        yield at
        at = seed.find(mark, at + 1)


def _objects(file: h5py.File) -> list[Any]:
    found: list[Any] = []
    file.visititems(lambda _, each: found.append(each))
    return found


def _data_blocks(dataset: Any) -> Iterator[tuple[int, int]]:
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        if offset is not None and dataset.nbytes:
            yield offset, dataset.nbytes
        return
    for number in range(dataset.id.get_num_chunks()):
        chunk = dataset.id.get_chunk_info(number)
        yield chunk.byte_offset, chunk.size


def _filters(dataset: Any) -> list[Any]:
    fixes = []
    if dataset.compression == "gzip" and not dataset.fletcher32:
        fixes.append(_fix_adler)
    if dataset.fletcher32:
        fixes.append(_fix_fletcher)
    return fixes


def _checked(seed: bytes, begins: list[int]) -> Iterator[tuple[int, int]]:
    """Find how many bytes from each begin a lookup3 checksum stands for; by trial if need be."""
    for at in begins:
        sizes = range(12, min(_MOST_CHECKED, len(seed) - at - 4))
        if seed[at : at + 4] == b"OHDR":
            flags, begin = seed[at + 5], at + 6
            begin += (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            end = begin + width + int.from_bytes(seed[begin : begin + width], "little")
            sizes = range(end - at, end - at + 1)
        for size in sizes:
            stored = seed[at + size : at + size + 4]
            if struct.pack("<I", lookup3(seed[at : at + size])) == stored:
                yield at, size
                break


def _fix_lookup3(at: int, size: int, data: bytearray) -> None:
    if at + size + 4 <= len(data):
        struct.pack_into("<I", data, at + size, lookup3(bytes(data[at : at + size])))


def _fix_adler(begin: int, size: int, data: bytearray) -> None:
    """Give a deflated block the checksum of what it unpacks to, if it still unpacks."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(bytes(data[begin : begin + size - 4]), 1 << 20)
    except zlib.error:
        return
    if begin + size <= len(data):
        struct.pack_into(">I", data, begin + size - 4, zlib.adler32(unpacked))


def _fix_fletcher(begin: int, size: int, data: bytearray) -> None:
    if begin + size <= len(data):
        checksum = fletcher32(bytes(data[begin : begin + size - 4]))
        struct.pack_into("<I", data, begin + size - 4, checksum)


def fletcher32(block: bytes) -> int:
    """Compute the checksum that HDF5 puts behind a block: sums of big-endian 16-bit words."""
    words = struct.unpack(f">{(len(block) + 1) // 2}H", block + b"\0" * (len(block) % 2))
    first = second = 0
    for word in words:
        first += word
        second += first
    # HDF5 folds instead of dividing, so a sum that is no zero never becomes one
    low, high = (1 + (total - 1) % 65535 if total else 0 for total in (first, second))
    return high << 16 | low
