"""Arrays of a Zarr store: metadata and chunks are checked before the Zarr library acts on them.

The metadata name the codecs that chunks went through, and the registry of codecs has one that
unpickles. They also claim sizes, as the chunks do, and a chunk that is missing reads as zeros.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.limits import UNPACKED_BYTES, ZARR_CHUNK_BYTES
from tcssa.files.text import read_json
from tcssa.files.zarr_chunks import (
    CHECKSUM,
    COMPRESSORS,
    TEXT,
    Packing,
    Shards,
    require_known_order,
)
from tcssa.optional import require

_SHARDS = "sharding_indexed"
_CODECS = frozenset(
    {"bytes", "transpose", *COMPRESSORS, CHECKSUM, "crc32", "adler32", "fletcher32", "shuffle",
     "delta", TEXT}
)  # fmt: skip
"""Codecs that do nothing but pack numbers and text."""
_CHECKSUMS_BYTES = 64
"""More than all checksums take that a filter puts beside the numbers of a chunk."""
_METADATA_FILES = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
_MAX_RATIO = 1032
"""Features are not compressed more than the best case of deflate."""


def open_array(folder: Path, error: type[FileError], *, extra: str, complete: bool = False) -> Any:
    """Open an array of a Zarr store; zarr ships types but is not always installed, hence Any.

    Args:
        folder: The array's own folder.
        error: Type of the error to raise.
        extra: The extra of tcssa that installs Zarr.
        complete: Whether each chunk must be there; else a missing one stands for the fill value.

    Raises:
        FileError: Of the type ``error``; there is no such array, or it asks for a codec that is not
            known to be harmless, claims absurd sizes, or lacks chunks.
        MissingExtraError: Zarr is not installed.
    """
    zarr = require("zarr", extra)
    version = 3 if (folder / "zarr.json").exists() else 2
    metadata = folder / ("zarr.json" if version == 3 else ".zarray")
    content = read_json(metadata, error, top=dict)
    with reading(metadata, error):
        names, sharding = _codecs(content, version)
        if strangers := sorted(set(names) - _CODECS):
            raise error(metadata, f"names the codec {strangers[0]!r}, which is not run")
        require_known_order(names)
        array = zarr.open_array(folder, mode="r", zarr_format=version)
        packing = _packing(array, names, sharding)
        num_values = math.prod(array.shards or array.chunks)
        ZARR_CHUNK_BYTES.require(8 * num_values, metadata, error)
        array = zarr.open_array(_checked_store(folder, packing), mode="r", zarr_format=version)
    if complete:
        _require_complete(array, folder, packing.shards, error)
    return array


def require_files(folder: Path, error: type[FileError]) -> int:
    """Require that a store holds files and folders alone.

    Args:
        folder: The folder of the store.
        error: Type of the error to raise.

    Returns:
        The bytes of all its files.

    Raises:
        FileError: Of the type ``error``; the store holds a link, which may lead anywhere, or a
            pipe, whose reading would wait for ever.
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


def _codecs(content: dict[str, Any], version: int) -> tuple[list[str], dict[str, Any] | None]:
    """List the codecs that pack a chunk, and the settings of shards if chunks lie in such."""
    if version == 2:
        codecs = [*(content.get("filters") or []), content.get("compressor")]
        return [str(codec["id"]) for codec in codecs if codec is not None], None
    names = _names(content["codecs"])
    if names != [_SHARDS]:
        return names, None
    sharding: dict[str, Any] = content["codecs"][0]["configuration"]
    return _names(sharding["codecs"]), sharding


def _names(codecs: Sequence[Any]) -> list[str]:
    names = (codec if isinstance(codec, str) else codec["name"] for codec in codecs)
    return [str(name).removeprefix("numcodecs.") for name in names]


def _packing(array: Any, names: Sequence[str], sharding: Mapping[str, Any] | None) -> Packing:
    item_bytes = max(8 if "delta" in names else 1, array.dtype.itemsize)
    most_bytes = math.prod(array.chunks) * item_bytes + _CHECKSUMS_BYTES
    if TEXT in names:
        most_bytes = max(most_bytes, UNPACKED_BYTES.value())
    if sharding is None:
        return Packing(names, most_bytes)
    index = _names(sharding["index_codecs"])
    if index not in (["bytes"], ["bytes", CHECKSUM]):
        raise UnsoundError("packs the index of its shards")
    if sharding.get("index_location", "end") != "end":
        # bytes from 0 on are then asked for as the index and as a chunk that claims to lie there
        raise UnsoundError("has the index of its shards in front, which is not read")
    num_chunks = math.prod(array.shards) // math.prod(array.chunks)
    return Packing(names, most_bytes, Shards(num_chunks, CHECKSUM in index))


def _checked_store(folder: Path, packing: Packing) -> Any:
    """Make a store of a folder that checks each chunk before the Zarr library unpacks it."""
    from zarr.abc.store import ByteRequest, RangeByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype
    from zarr.storage import LocalStore, WrapperStore

    class CheckedStore(WrapperStore[LocalStore]):
        async def get(
            self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
        ) -> Buffer | None:
            """See `zarr.abc.store.Store.get`; what is read is checked first."""
            stored = await super().get(key, prototype, byte_range)
            if stored is None or key in _METADATA_FILES:
                return stored
            content = stored.as_numpy_array().data
            if byte_range is None:
                packing.require_sound_file(content)
            elif isinstance(byte_range, RangeByteRequest):
                packing.require_sound_part(content, byte_range.start, byte_range.end)
            return stored

    return CheckedStore(LocalStore(folder, read_only=True))


def _require_complete(
    array: Any, folder: Path, shards: Shards | None, error: type[FileError]
) -> None:
    """Require that each chunk of an array is stored."""
    stored = require_files(folder, error)
    claimed = math.prod(array.shape) * max(1, array.dtype.itemsize)
    with reading(folder, error):
        if claimed > _MAX_RATIO * stored:
            raise UnsoundError(f"claims {claimed:,} bytes, more than can be stored in it")
        chunks, written = array.nchunks, array.nchunks_initialized
        if shards is not None:
            sides = zip(array.shape, array.chunks, strict=True)
            chunks = math.prod(-(-whole // side) for whole, side in sides)
            files = [path for path in folder.rglob("*") if path.is_file()]
            found = [path for path in files if path.name not in _METADATA_FILES]
            written = sum(map(shards.num_written, found))
    if written < chunks:
        raise error(
            folder,
            f"{chunks - written:,} of {chunks:,} chunks are missing",
            hint="copy the store again, whole",
        )
