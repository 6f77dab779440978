"""Files behind addresses (``s3://``, ``https://``, ...), copied to this machine whole.

A copy is made under a temporary name and renamed when it is whole; one that was interrupted is
resumed. Any file system of fsspec will do.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from tcssa.errors import DiskFullError, FileError, TcssaError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters or more: C:\ is a disk
_CHUNK_BYTES = 1 << 22
_VERSION_KEYS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "generation")
"""Keys by which file systems tell that a file was changed."""
INSTALL = "install the fsspec package of that storage, such as s3fs, gcsfs or aiohttp"
_OF_A_PATH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def is_remote(path: object) -> bool:
    """Tell whether this is an address rather than a path; ``file://`` is a path."""
    text = str(path)
    return bool(_ADDRESS.match(text)) and not text.lower().startswith("file://")


def local_path(path: Path | str) -> Path:
    """Return a path as it was given, or the path in a ``file://`` address."""
    text = str(path)
    return Path(url2pathname(urlsplit(text).path) if text.lower().startswith("file://") else text)


def plain_address(address: str) -> str:
    """Strip passwords and signatures from an address, so that it may be shown and stored."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def as_address(place: Path | str) -> str | None:
    """Return the address that a path was made of, which loses a slash by that; else None."""
    found = _OF_A_PATH.fullmatch(place.as_posix() if isinstance(place, Path) else place)
    address = f"{found[1]}://{found[2]}" if found else None
    return address if is_remote(address) else None


def version_of(info: Mapping[str, Any]) -> list[str]:
    """Return what distinguishes versions of a file; nothing where its file system tells nothing.

    Args:
        info: What the file system says of the file.
    """
    return [str(info[name]) for name in _VERSION_KEYS if info.get(name) is not None]


def look_up(address: str) -> tuple[Any, str, Mapping[str, Any]]:
    """Return the file system of an address, the path in it, and what it says of that path."""
    import fsspec

    files, inner = fsspec.core.url_to_fs(address)
    files.invalidate_cache()
    return files, inner, files.info(inner)


def fetch(files: Any, inner: str, size: int | None, target: Path, partial: Path) -> None:
    """Copy a file; no other process may copy it to the same place meanwhile.

    Args:
        files: The file system.
        inner: Path of the file in it.
        size: Size in bytes; None if it is not known.
        target: The copy.
        partial: What has arrived of this version of the file; a copy goes on where it stood.

    Raises:
        OSError: The file cannot be read, or another number of bytes arrived.
        DiskFullError: There is no space left for the copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    done = partial.stat().st_size if partial.exists() and size is not None else 0
    try:
        with files.open(inner, "rb") as source, partial.open("r+b" if done else "wb") as sink:
            if done:
                source.seek(done)
                sink.seek(done)
            while chunk := source.read(_CHUNK_BYTES):
                sink.write(chunk)
            sink.flush()
            os.fsync(sink.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            partial.unlink(missing_ok=True)
            raise DiskFullError(target) from None
        raise
    found = partial.stat().st_size
    if size is not None and found != size:
        if found > size:
            partial.unlink()  # no beginning of this file
        raise OSError(f"{found} of {size} bytes arrived")
    partial.replace(target)


@contextmanager
def told(address: str, kind: type[FileError]) -> Iterator[None]:
    """Turn whatever a file system raises into an error of one line, without secrets.

    Args:
        address: What is fetched in the block.
        kind: Type of the error.

    Raises:
        FileError: Of that type; the block raised anything but an error of ours.
    """
    try:
        yield
    except (TcssaError, MemoryError):
        raise
    except ImportError as error:
        raise kind(plain_address(address), fault_of(error, address), hint=INSTALL) from None
    except Exception as error:  # every storage has its own errors
        raise kind(
            plain_address(address),
            f"cannot be fetched ({fault_of(error, address)})",
            hint="give the same command again: what has arrived is kept where there is a cache",
        ) from None


def fault_of(error: Exception, address: str) -> str:
    """Say in a few words what a file system raised, without secrets.

    Args:
        error: What it raised.
        address: The address that was worked on, which is left out.
    """
    if isinstance(error, ImportError):
        return f"this kind of address needs a package that is not installed ({error})"
    reason = " ".join(str(error).split()).replace(address, "it")
    reason = re.sub(r"\?\S+", "?...", reason)[:200]
    return f"{type(error).__name__}: {reason}"
