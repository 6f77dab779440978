"""Folders whose files go on to a store, such as a bucket, as they are written.

The store is given each file before the file gets its name here (`tcssa.files.atomic`). What it has
stands in the folder as a placeholder: a file of the same size and time that takes no space, and
that nobody may read. So whoever looks for what is done finds names, sizes and times as in any
folder, and whoever reads asks `content`.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

_UNREADABLE = 0o000


class Store(Protocol):
    """A place that the files of a folder go on to."""

    address: str
    """The address that stands for the folder, without secrets."""

    def accept(self, file: Path, target: Path) -> None:
        """Take a whole file, and leave a placeholder of it or the file itself.

        Args:
            file: The file, under a temporary name.
            target: The path that it is to have in the folder.

        Raises:
            UploadError: The store cannot take it.
        """

    def open(self, path: Path) -> Any:
        """Open what the placeholder at a path stands for: a binary file that can seek."""

    def look_again(self, folder: Path, names: Sequence[str] | None) -> None:
        """Show in the folder what others have put into the store since, or removed.

        Args:
            folder: A folder, which is the store's or below it.
            names: Names of files in it; None looks at all.

        Raises:
            UploadError: The store cannot be asked.
        """

    def remove(self, path: Path) -> None:
        """Remove what stands in the store for a path of the folder.

        Raises:
            UploadError: It cannot be removed.
        """


_stores: dict[Path, Store] = {}
_addresses: dict[str, str] = {}
"""Addresses of folders, those that are gone among them: errors may still name these."""


@contextmanager
def forwarding(folder: Path, store: Store) -> Iterator[None]:
    """Let the files of a folder go on to a store within a block.

    Args:
        folder: The folder.
        store: The store.
    """
    folder = folder.absolute()
    _addresses[str(folder)] = store.address
    _stores[folder] = store
    try:
        yield
    finally:
        del _stores[folder]


def store_of(path: Path) -> Store | None:
    """Return the store that a path's file goes on to; None where it stays."""
    if not _stores:
        return None
    path = path.absolute()
    return next((store for folder, store in _stores.items() if path.is_relative_to(folder)), None)


def leave_placeholder(path: Path, num_bytes: int, time_s: int) -> None:
    """Replace a file, or make one, by a placeholder.

    Args:
        path: The file.
        num_bytes: The size that it shows.
        time_s: The time of change that it shows, in seconds since 1970.
    """
    made = path.with_name(f".{uuid.uuid4().hex}")  # other processes may look for it, or make it
    with made.open("wb") as stream:
        stream.truncate(num_bytes)
    os.utime(made, (time_s, time_s))
    made.chmod(_UNREADABLE)
    made.replace(path)


def is_placeholder(path: Path) -> bool:
    """Tell whether a file only stands for one in a store."""
    try:
        return stat.S_IMODE(path.stat().st_mode) == _UNREADABLE
    except OSError:
        return False


def content(path: Path) -> Any:
    """Return what a library opens to read a file: its path, or an open file of the store."""
    store = store_of(path)
    return path if store is None or not is_placeholder(path) else store.open(path)


def look_again(folder: Path, names: Sequence[str] | None = None) -> None:
    """Show what other processes have put into the store behind a folder since, if there is one.

    Args:
        folder: The folder.
        names: Names of files in it; None looks at all.

    Raises:
        UploadError: The store cannot be asked.
    """
    store = store_of(folder)
    if store is not None:
        store.look_again(folder, names)


def remove(path: Path) -> None:
    """Remove a file if it is there, and what stands for it in a store.

    Raises:
        UploadError: The store cannot remove it.
    """
    store = store_of(path)
    if store is not None and path.exists():
        store.remove(path)
    path.unlink(missing_ok=True)


def shown(text: str) -> str:
    """Return a text with addresses in place of the folders whose files go on to them."""
    for folder, address in _addresses.items():
        text = text.replace(folder, address)
    return text
