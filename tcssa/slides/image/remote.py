"""Remote slides (``s3://``, ``https://``, ...), copied to this machine before they are read.

A copy is made under a temporary name and renamed when it is whole. One that was interrupted is
resumed, if the original has not changed. The copies that are kept are bounded in size: those used
longest ago are removed first, never one that a process of this machine reads (it holds a lock on a
file, which ends with the process).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from tcssa.errors import DiskFullError, SlideError, UsageError
from tcssa.files.host_locks import locked
from tcssa.files.process_folder import ProcessFolder

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters or more: C:\ is a disk
_CHUNK_BYTES = 1 << 22
_VERSION_KEYS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "generation")
"""Keys by which file systems tell that a file was changed."""
_PARTIAL = ".part"
_TEMPORARY = "tcssa-slides"


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


class SlideCache:
    """Copies of remote slides in a folder.

    Several processes of a machine may share the folder.

    Args:
        folder: Folder that keeps the copies; None makes a temporary folder for the first of them,
            and keeps nothing.
        max_bytes: Bytes that are kept once no slide is being read. A slide stays while it is read,
            so the folder may be larger by the slides in use.

    Raises:
        UsageError: The folder cannot be made.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._given = folder
        self._temporary: ProcessFolder | None = None
        self._making = threading.Lock()
        self.max_bytes = 0 if folder is None else max_bytes
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{folder}: cannot be the --cache ({error.strerror})", hint="name another folder"
            ) from None

    @property
    def folder(self) -> Path:
        """Folder of the copies; a temporary one is made when it is first asked for."""
        if self._given is not None:
            return self._given
        with self._making:
            if self._temporary is None:
                self._temporary = ProcessFolder(Path(tempfile.gettempdir()), _TEMPORARY)
            return self._temporary.path

    def __enter__(self) -> SlideCache:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._temporary is not None:
            self._temporary.close()

    @contextmanager
    def copy_of(self, address: str) -> Iterator[Path]:
        """Yield a local copy of a slide, which is not removed within the block.

        Raises:
            SlideError: The slide cannot be fetched, or is not a single file.
            DiskFullError: There is no space left for the copy.
        """
        with _told(address):
            files, inner, info = _look_up(address)
        name = urlsplit(address).path.rpartition("/")[2] or "slide"
        entry = self.folder / _key(address, info)
        while True:
            with locked(entry, exclusive=False) as lock:
                if lock and (entry / name).is_file():
                    os.utime(entry)  # used now: the last to be removed
                    self._trim()
                    yield entry / name
                    break
            with locked(entry, exclusive=True), _told(address):
                if not (entry / name).is_file():
                    self._trim(int(info.get("size") or 0))
                    _fetch(files, inner, info, entry / name)
        self._trim()

    def _trim(self, coming: int = 0) -> None:
        """Remove the copies used longest ago until the rest and ``coming`` bytes fit."""
        entries = [entry for entry in self.folder.iterdir() if entry.is_dir()]
        sizes = {entry: _size(entry) for entry in entries}
        total = sum(sizes.values()) + coming
        for entry in sorted(entries, key=_used):
            if total <= self.max_bytes:
                return
            with locked(entry, exclusive=True, wait=False) as lock:
                if lock:
                    with suppress(OSError):
                        shutil.rmtree(entry)
                        total -= sizes[entry]


def _look_up(address: str) -> tuple[Any, str, Mapping[str, Any]]:
    import fsspec

    files, inner = fsspec.core.url_to_fs(address)
    files.invalidate_cache()
    info = files.info(inner)
    if info.get("type") == "directory":
        raise SlideError(
            plain_address(address),
            "is a folder; only slides of one file are fetched",
            hint="copy the folder to this machine",
        )
    return files, inner, info


def _key(address: str, info: Mapping[str, Any]) -> str:
    """Return a key that differs between files, and between versions of a file."""
    version = [str(info[name]) for name in _VERSION_KEYS if info.get(name) is not None]
    told = "\n".join([plain_address(address), urlsplit(address).query if not version else "",
                      str(info.get("size")), *version])  # fmt: skip
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def _fetch(files: Any, inner: str, info: Mapping[str, Any], target: Path) -> None:
    """Copy a file; the caller holds the entry's lock exclusively."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + _PARTIAL)
    size = info.get("size")
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
def _told(address: str) -> Iterator[None]:
    """Turn whatever a file system raises into a `SlideError` of one line, without secrets."""
    try:
        yield
    except (SlideError, DiskFullError, MemoryError):
        raise
    except ImportError as error:
        raise SlideError(
            plain_address(address),
            f"this kind of address needs a package that is not installed ({error})",
            hint="install the fsspec package of that storage, such as s3fs, gcsfs or aiohttp",
        ) from None
    except Exception as error:  # every storage has its own errors
        reason = " ".join(str(error).split()).replace(address, "it")
        reason = re.sub(r"\?\S+", "?...", reason)[:200]
        raise SlideError(
            plain_address(address),
            f"cannot be fetched ({type(error).__name__}: {reason})",
            hint="give the same command again: what has arrived is kept where a --cache is given",
        ) from None


def _size(entry: Path) -> int:
    """Return the size of an entry in bytes; another process may be removing it."""
    total = 0
    with suppress(OSError):
        for file in entry.iterdir():
            with suppress(OSError):
                total += file.stat().st_size
    return total


def _used(entry: Path) -> float:
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0
