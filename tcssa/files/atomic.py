"""Files that are either whole or not there.

Everything the toolkit writes goes to a temporary name beside its target, is flushed to the
disk and renamed. A process killed at any instant leaves at most a hidden temporary file.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tcssa.errors import DiskFullError
from tcssa.files.forwarding import store_of
from tcssa.files.listing import each_named

_SUFFIX = ".tcssa-tmp"
MOST_NAME_BYTES = 255
"""Longest name on all usual file systems."""


def temporary_name(target: Path) -> Path:
    """Return a name beside `target` that `discard_leftovers` removes once this process is dead."""
    ending = f".{socket.gethostname()}.{os.getpid()}{_SUFFIX}"
    name = target.name
    if len(os.fsencode(f".{name}{ending}")) > MOST_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return target.with_name(f".{name}{ending}")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well it becomes ``target``.

    Args:
        target: The file to write. Its folder is made if need be.

    Yields:
        The path to write to. It is removed when the block raises.

    Raises:
        DiskFullError: There is no space left on the disk or in the user's quota.
        UploadError: The file goes on to a store, which cannot take it.
    """
    temporary = temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if store := store_of(target):
            store.accept(temporary, target)
            temporary.replace(target)
        else:
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(target) from None
        raise


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically (UTF-8).

    Args:
        target: The file to write.
        text: Its content.
    """
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(target: Path, header: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """Write a table atomically: UTF-8, commas, a line feed after each row.

    Args:
        target: The file to write.
        header: Names of the columns.
        rows: Cells of each row; None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(target, text.getvalue())


def write_bytes(target: Path, content: bytes) -> None:
    """Write a binary file atomically.

    Args:
        target: The file to write.
        content: Its content.
    """
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def discard_leftovers(folder: Path) -> int:
    """Remove temporary files that dead processes of this host left behind in ``folder``.

    Returns:
        How many files were removed.
    """
    removed = 0
    host = socket.gethostname()
    for leftover in each_named(folder, ".", _SUFFIX):
        stem, _, pid = leftover.name.removesuffix(_SUFFIX).rpartition(".")
        if stem.endswith(f".{host}") and pid.isdigit() and not alive(int(pid)):
            leftover.unlink(missing_ok=True)
            removed += 1
    return removed


def alive(pid: int) -> bool:
    """Tell whether a process of this machine is alive; True where that cannot be told."""
    if os.name == "nt":
        return True  # there os.kill would interrupt it; leftovers stay until someone removes them
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    """Flush a file or a folder entry to the disk."""
    if path.is_dir():
        if os.name == "nt":
            return  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
    else:
        descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
