"""Chunks of a Zarr array, checked before a codec unpacks them.

Codecs take the memory that a chunk's header claims, and blosc reads as many bytes as its header
says, those behind the chunk too. Damage that leaves the header alone is for the codec to find; one
that has no checksum, as most, cannot find all of it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.files.boundary import UnsoundError

CHECKSUM, TEXT = "crc32c", "vlen-utf8"
_CHECKSUM_BYTES = 4
_ABSENT = 2**64 - 1
_BLOSC_HEAD_BYTES = 16
_ZSTD_MAGIC, _ZSTD_BLOCK_BYTES = 0xFD2FB528, 2**17
_DEFLATE_RATIO, _HARMLESS_BYTES = 1032, 3 * 2**27
"""Best ratio of deflate, and memory that a small chunk may take, whatever belongs in it."""
_CUT = "a chunk is cut short, or its header is damaged"


@dataclass(frozen=True)
class Shards:
    """The index that ends each shard: offset and length of its inner chunks, 8 bytes each.

    Attributes:
        num_chunks: Inner chunks of a shard, written or not.
        has_checksum: Whether a checksum ends it.
    """

    num_chunks: int
    has_checksum: bool

    @property
    def num_bytes(self) -> int:
        """Bytes of the index."""
        return 16 * self.num_chunks + _CHECKSUM_BYTES * self.has_checksum

    def start(self, shard_bytes: int) -> int:
        """Return the place of the index in a shard."""
        return max(0, shard_bytes - self.num_bytes)

    def num_written(self, path: Path) -> int:
        """Count the inner chunks that are there in the file of a shard.

        Raises:
            UnsoundError: The index is cut short, or places a chunk outside the shard.
        """
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(self.start(size))
            return len(self.written(stream.read(self.num_bytes), size))

    def written(self, index: bytes | memoryview, shard_bytes: int) -> NDArray[np.uint64]:
        """Find the inner chunks that are there.

        Args:
            index: The index of a shard.
            shard_bytes: The length of the whole shard.

        Returns:
            Offset and length of each, ``[n, 2]``.

        Raises:
            UnsoundError: The index is cut short, or places a chunk outside the shard.
        """
        if len(index) < self.num_bytes:
            raise UnsoundError(_CUT)
        places = np.frombuffer(index, "<u8", 2 * self.num_chunks).reshape(-1, 2)
        found: NDArray[np.uint64] = places[(places != _ABSENT).any(axis=1)]
        if (found > shard_bytes).any() or (found.sum(axis=1) > shard_bytes).any():
            raise UnsoundError(_CUT)
        return found


@dataclass(frozen=True)
class Packing:
    """The way of a chunk from numbers to stored bytes.

    Attributes:
        codecs: Names of the codecs in the order in which they pack; for shards, those of the inner
            chunks.
        most_bytes: Largest size of an unpacked chunk.
        shards: The shards' index; None where chunks lie in files of their own.
    """

    codecs: Sequence[str]
    most_bytes: int
    shards: Shards | None = None

    def require_sound_file(self, stored: memoryview) -> None:
        """Require that a file's chunk is sound, or each inner chunk of its shard.

        Raises:
            UnsoundError: A chunk or the shard's index is not sound; see `require_sound`.
        """
        if self.shards is None:
            self.require_sound(stored)
            return
        index = stored[self.shards.start(len(stored)) :]
        for offset, length in self.shards.written(index, len(stored)).tolist():
            self.require_sound(stored[offset : offset + length])

    def require_sound_part(self, stored: memoryview, start: int, end: int) -> None:
        """Require that an inner chunk is sound.

        Args:
            stored: The bytes that were found.
            start: Their place in the shard.
            end: The end of the bytes that were asked for.

        Raises:
            UnsoundError: The chunk is not sound, or the shard ends before it does.
        """
        if len(stored) < end - start:
            raise UnsoundError(_CUT)
        self.require_sound(stored)

    def require_sound(self, chunk: memoryview) -> None:
        """Require that a chunk is as long as its header says and does not unpack to too much.

        Raises:
            UnsoundError: The chunk is cut short, its header is damaged, or it unpacks to too much.
        """
        names = list(self.codecs)
        while names and names[-1] == CHECKSUM:
            names.pop()
            chunk = chunk[: max(0, len(chunk) - _CHECKSUM_BYTES)]
        if not chunk:
            raise UnsoundError(_CUT)
        if names and names[-1] in COMPRESSORS:
            earned = max(_HARMLESS_BYTES, _DEFLATE_RATIO * len(chunk))
            COMPRESSORS[names[-1]](chunk, min(self.most_bytes, earned))
        if TEXT in names:
            _require_text(chunk, names[-1])


def require_known_order(codecs: Sequence[str]) -> None:
    """Require that nothing but checksums follows a compression, so that its header is in front.

    Raises:
        UnsoundError: Another codec follows a compression, or stands between text and its
            compression.
    """
    compressions = [at for at, name in enumerate(codecs) if name in COMPRESSORS]
    first = min(compressions, default=len(codecs))
    behind = list(codecs[first + 1 :])
    if TEXT in codecs[:first]:
        behind += codecs[codecs.index(TEXT) + 1 : first]
    if strangers := sorted(set(behind) - {CHECKSUM}):
        raise UnsoundError(f"applies the codec {strangers[0]!r} where none is expected")


def _require_text(chunk: memoryview, compressor: str) -> None:
    """Require no more texts than are stored, since memory is taken for as many as are claimed."""
    if compressor in COMPRESSORS:
        import numcodecs

        chunk = memoryview(numcodecs.get_codec({"id": compressor}).decode(bytes(chunk)))
    num_texts = int.from_bytes(chunk[:4], "little")
    if 4 * num_texts > len(chunk):
        raise UnsoundError(f"a chunk claims {num_texts:,} texts, more than can be stored in it")


def _require_most(claimed: int, most: int) -> None:
    if claimed > most:
        raise UnsoundError(f"a chunk claims {claimed:,} bytes, at most {most:,} belong in it")


def _require_blosc(chunk: memoryview, most: int) -> None:
    if len(chunk) < _BLOSC_HEAD_BYTES:
        raise UnsoundError(_CUT)
    claimed, _, length = struct.unpack_from("<III", chunk, 4)
    if length != len(chunk):
        raise UnsoundError(_CUT)
    _require_most(claimed, most)


def _require_lz4(chunk: memoryview, most: int) -> None:
    _require_most(int.from_bytes(chunk[:4], "little"), most)


def _require_zstd(chunk: memoryview, most: int) -> None:
    """Require that the first frame states a size within the limit, for which memory is taken.

    Frames that state none are unpacked as they come; then blocks are counted, each as the largest
    that zstd writes, which is too much for some.
    """
    try:
        stated, _, _ = _zstd_head(chunk, 0)
        if stated is not None:
            _require_most(stated, most)
            return
        at = largest = 0
        while at < len(chunk):
            frame, at = _zstd_frame(chunk, at)
            largest += frame
    except struct.error:
        raise UnsoundError(_CUT) from None
    _require_most(largest, max(2 * most, _HARMLESS_BYTES))


def _zstd_frame(chunk: memoryview, at: int) -> tuple[int, int]:
    """Return the most bytes that a frame's blocks can unpack to, and the place of its end."""
    _, has_checksum, at = _zstd_head(chunk, at)
    largest, is_last = 0, False
    while not is_last:
        head = int.from_bytes(struct.unpack_from("3s", chunk, at)[0], "little")
        is_last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        largest += size if kind < 2 else _ZSTD_BLOCK_BYTES
        at += 3 + (1 if kind == 1 else size)
    return largest, at + _CHECKSUM_BYTES * has_checksum


def _zstd_head(chunk: memoryview, at: int) -> tuple[int | None, bool, int]:
    """Read the head of a frame (RFC 8878, 3.1.1).

    Returns:
        The size it states, if any; whether a checksum ends the frame; the place of its first block.
    """
    magic, descriptor = struct.unpack_from("<IB", chunk, at)
    if magic != _ZSTD_MAGIC:
        raise UnsoundError(_CUT)
    is_single = descriptor >> 5 & 1
    at += 5 + (1 - is_single) + (0, 1, 2, 4)[descriptor & 3]
    code = "B" if is_single and descriptor < 64 else ("", "H", "I", "Q")[descriptor >> 6]
    stated = None
    if code:
        (stated,) = struct.unpack_from(f"<{code}", chunk, at)
        stated += 256 if code == "H" else 0
    return stated, bool(descriptor & 4), at + struct.calcsize(f"<{code}")


def _require_deflated(chunk: memoryview, most: int) -> None:
    """Unpack a chunk that could take much memory, up to the limit: no header states its size.

    It doubles the time that such a chunk takes, from 400 kB on as it is stored.
    """
    left, unpacked = bytes(chunk), 0
    while left and len(chunk) * _DEFLATE_RATIO > _HARMLESS_BYTES:
        stream = zlib.decompressobj(wbits=47)
        unpacked += len(stream.decompress(left, most + 1))
        _require_most(unpacked, most)
        left = stream.unused_data


COMPRESSORS: Mapping[str, Callable[[memoryview, int], None]] = {
    "blosc": _require_blosc,
    "zstd": _require_zstd,
    "lz4": _require_lz4,
    "gzip": _require_deflated,
    "zlib": _require_deflated,
}
"""Codecs that compress, with the check of what they compressed.

bz2 and lzma are not among them: neither states a size, and both pack gigabytes into a few bytes.
"""
