"""Arrays of a Zarr store: their metadata are checked before the Zarr library acts on them.

The metadata name the codecs that chunks went through, and the registry of codecs has one that
unpickles. They also claim sizes, and a chunk that is missing reads as zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcssa.errors import FileError
from tcssa.files.boundary import reading
from tcssa.files.limits import ZARR_CHUNK_BYTES
from tcssa.files.text import read_json
from tcssa.optional import require

_CODECS = frozenset(
    {"bytes", "transpose", "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "crc32c", "crc32",
     "adler32", "fletcher32", "shuffle", "delta", "vlen-utf8", "sharding_indexed"}
)  # fmt: skip
"""Codecs that do nothing but pack numbers and text."""
_MAX_RATIO = 1032
"""Features are not compressed more than the best case of deflate."""


def open_array(folder: Path, error: type[FileError], *, extra: str, complete: bool = False) -> Any:
    """Open an array of a Zarr store; zarr ships types but is not always installed, hence Any.

    Args:
        folder: The array's own folder.
        error: What to raise.
        extra: The extra of tcssa that brings Zarr.
        complete: Whether each chunk must be there; else a missing one stands for the fill value.

    Raises:
        FileError: Of the type ``error``; there is no such array, it asks for a codec that is not
            known to be harmless, claims absurd sizes, or lacks chunks.
        MissingExtraError: Zarr is not installed.
    """
    zarr = require("zarr", extra)
    version = 3 if (folder / "zarr.json").exists() else 2
    metadata = folder / ("zarr.json" if version == 3 else ".zarray")
    content = read_json(metadata, error, top=dict)
    with reading(metadata, error):
        strangers = sorted(set(_codec_names(content, version)) - _CODECS)
        if strangers:
            raise error(metadata, f"names the codec {strangers[0]!r}, which is not run")
        ZARR_CHUNK_BYTES.require(8 * math.prod(_chunk_shape(content, version)), metadata, error)
        array = zarr.open_array(folder, mode="r", zarr_format=version)
    if complete:
        _require_complete(array, folder, error)
    return array


def require_files(folder: Path, error: type[FileError]) -> int:
    """Require that a store holds files and folders alone.

    Returns:
        The bytes of all its files.

    Raises:
        FileError: Of the type ``error``; it holds a link, which may lead anywhere, or a pipe, which
            is waited for.
    """
    stored, waiting = 0, [folder]
    with reading(folder, error):
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry))
                    elif entry.is_file(follow_symlinks=False):
                        stored += entry.stat(follow_symlinks=False).st_size
                    else:
                        raise error(entry.path, "is a link or no regular file")
    return stored


def _codec_names(content: dict[str, Any], version: int) -> Iterator[str]:
    """List the codecs that an array's metadata name, those within shards included."""
    if version == 2:
        for codec in [content.get("compressor"), *(content.get("filters") or [])]:
            if codec is not None:
                yield str(codec["id"])
        return
    waiting = list(content["codecs"])
    while waiting:
        codec = waiting.pop()
        name = codec if isinstance(codec, str) else codec["name"]
        yield str(name).removeprefix("numcodecs.")
        inner = {} if isinstance(codec, str) else codec.get("configuration") or {}
        waiting += [*inner.get("codecs", []), *inner.get("index_codecs", [])]


def _chunk_shape(content: dict[str, Any], version: int) -> list[int]:
    if version == 2:
        shape = content["chunks"]
    else:
        shape = content["chunk_grid"]["configuration"]["chunk_shape"]
    return [int(size) for size in shape]


def _require_complete(array: Any, folder: Path, error: type[FileError]) -> None:
    """Require that each chunk of an array is stored."""
    stored = require_files(folder, error)
    claimed = math.prod(array.shape) * max(1, array.dtype.itemsize)
    if claimed > _MAX_RATIO * stored:
        raise error(folder, f"claims {claimed:,} bytes, more than can be stored in it")
    with reading(folder, error):
        written, chunks = array.nchunks_initialized, array.nchunks
    if written != chunks:
        raise error(
            folder,
            f"{chunks - written:,} of {chunks:,} chunks are missing",
            hint="copy the store again, whole",
        )
