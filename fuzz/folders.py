"""A folder as one input: its files behind each other, each with a line of name and length."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path


def pack(files: Mapping[str, bytes]) -> bytes:
    """Join the files of a folder.

    Args:
        files: Content by path within the folder.
    """
    return b"".join(
        f"{name}\n{len(content)}\n".encode() + content for name, content in sorted(files.items())
    )


def pack_folder(folder: Path) -> bytes:
    """Join the files of a folder on the disk."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return pack({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})


def unpack(packed: bytes) -> dict[str, bytes]:
    """Take apart what `pack` joined."""
    files: dict[str, bytes] = {}
    while packed:
        name, length, packed = packed.split(b"\n", 2)
        files[name.decode()], packed = packed[: int(length)], packed[int(length) :]
    return files


def write_folder(folder: Path, packed: bytes) -> None:
    """Write a packed folder; files that are there with another content, or not in it, go."""
    files = unpack(packed)
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    if any(path.is_file() and name not in files for name, path in there.items()):
        shutil.rmtree(folder)
        there = {}
    for name, content in files.items():
        path = folder / name
        if name not in there or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
