"""The boundary where a file enters: whatever a library raises there becomes one error of ours."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcssa.errors import FileError, TcssaError, one_line


class UnsoundError(Exception):
    """A fault that a guard found in a file; `reading` adds which file it is."""


@contextmanager
def reading(path: Path | str, error: type[FileError], *, hint: str | None = None) -> Iterator[None]:
    """Turn every exception of the block into one error that names the file.

    Errors of ours pass as they are, and so does MemoryError, which says nothing about the file.

    Args:
        path: The file that is read in the block.
        error: Type of the error to raise.
        hint: The next step; None leaves it to the error's type.

    Raises:
        FileError: Of the type ``error``; the block raised anything but an error of ours or
            MemoryError.
    """
    try:
        yield
    except (TcssaError, MemoryError):
        raise
    except Exception as fault:  # libraries that read files raise whatever damage leads them into
        raise error(path, reason_of(fault), hint=next_step(fault, hint)) from fault


def reason_of(fault: Exception) -> str:
    """Say in a few words why a file could not be read."""
    if isinstance(fault, UnsoundError):
        return str(fault)
    if isinstance(fault, FileNotFoundError):
        return "there is no such file"
    if isinstance(fault, RecursionError):
        return "is nested too deeply"
    if isinstance(fault, UnicodeError):
        return "is not text in UTF-8"
    said = fault.strerror if isinstance(fault, OSError) and fault.strerror else one_line(fault)
    return f"cannot be read ({said or type(fault).__name__})"


def next_step(fault: Exception, hint: str | None) -> str | None:
    """Return the next step for a file that may not be read or is not there; else the hint."""
    if isinstance(fault, PermissionError):
        return "check who may read it"
    if isinstance(fault, FileNotFoundError):
        return hint or "check the path"
    return hint


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; False where that may not be looked up."""
    try:
        return path.is_dir()
    except OSError:
        return False


def require_file(path: Path, error: type[FileError]) -> int:
    """Require a regular file, since opening a pipe waits for ever and a device has no end.

    Args:
        path: The file.
        error: Type of the error to raise.

    Returns:
        Its size in bytes.

    Raises:
        FileError: Of the type ``error``; there is no such file, or it is a folder, pipe or device.
    """
    with reading(path, error):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise error(path, "is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise error(path, "is no regular file", hint="copy its content into a file")
    return status.st_size
