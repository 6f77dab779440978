"""Hashes that identify what something was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

_END_BYTES = 65_536


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def params_hash(params: Mapping[str, object]) -> str:
    """Compute sixteen hex digits that change when any of these JSON-able parameters does."""
    text = json.dumps(params, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(path: Path) -> str | None:
    """Hash a file's size, beginning and end, without reading gigabytes.

    It tells a file from another of its name. For a folder it is made from the names and sizes of
    the files directly in it: the instances of a DICOM slide, the metadata of an OME-Zarr.

    Returns:
        Hex digits; None where there is neither a file nor a folder.
    """
    import xxhash

    digest = xxhash.xxh3_64()
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file():
                digest.update(f"{file.name} {file.stat().st_size}\n".encode())
    elif path.is_file():
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as stream:
            digest.update(stream.read(_END_BYTES))
            stream.seek(max(0, size - _END_BYTES))
            digest.update(stream.read(_END_BYTES))
    else:
        return None
    return digest.hexdigest()
