"""Remote slides (``s3://``, ``https://``, ...), copied to this machine before they are read.

A copy is made under a temporary name and renamed when it is whole. One that was interrupted is
resumed, if the original has not changed. The copies that are kept are bounded in size: those used
longest ago are removed first, never one that a process of this machine reads (it holds a lock on a
file, which ends with the process).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tcssa.errors import SlideError, UsageError
from tcssa.files.host_locks import locked
from tcssa.files.process_folder import ProcessFolder
from tcssa.files.remote_file import fetch, look_up, plain_address, told, version_of

_PARTIAL = ".part"
_TEMPORARY = "tcssa-slides"


class SlideCache:
    """Copies of remote slides in a folder.

    Several processes of a machine may share the folder.

    Args:
        folder: Folder that keeps the copies; None makes a temporary folder for the first of them,
            and keeps nothing.
        max_bytes: Bytes that are kept once no slide is being read. A slide stays while it is read,
            so the folder may be larger by the slides in use.
        say: Told which process is waited for, where another one fetches the same slide.

    Raises:
        UsageError: The folder cannot be made.
    """

    def __init__(
        self, folder: Path | None, max_bytes: int, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self._given, self._say = folder, say
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
        with told(address, SlideError):
            files, inner, info = look_up(address)
        if info.get("type") == "directory":
            raise SlideError(
                plain_address(address),
                "is a folder; only slides of one file are fetched",
                hint="copy the folder to this machine",
            )
        name = urlsplit(address).path.rpartition("/")[2] or "slide"
        entry = self.folder / _key(address, info)

        def wait(who: str) -> None:
            self._say(f"waiting for {who}, which fetches {plain_address(address)}")

        while True:
            with locked(entry, exclusive=False, on_wait=wait) as lock:
                if lock and (entry / name).is_file():
                    os.utime(entry)  # used now: the last to be removed
                    self._trim()
                    yield entry / name
                    break
            with locked(entry, exclusive=True, on_wait=wait), told(address, SlideError):
                if not (entry / name).is_file():
                    self._trim(int(info.get("size") or 0))
                    partial = entry / f"{name}{_PARTIAL}"
                    fetch(files, inner, info.get("size"), entry / name, partial)
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


def _key(address: str, info: Mapping[str, Any]) -> str:
    """Return a key that differs between files, and between versions of a file."""
    version = version_of(info)
    facts = "\n".join([plain_address(address), urlsplit(address).query if not version else "",
                       str(info.get("size")), *version])  # fmt: skip
    return hashlib.sha256(facts.encode()).hexdigest()[:24]


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
