"""Locks between the processes of one machine, which end with the process that holds them.

For a folder that several machines share see `tcssa.files.locks`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def locked(entry: Path, *, exclusive: bool, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a file or folder, which is a file ``NAME.lock`` beside it.

    Args:
        entry: What is locked; it need not exist.
        exclusive: Whether nobody else may hold the lock, or only nobody who wants it exclusively.
        wait: Whether to wait for the lock.

    Yields:
        False if the lock is taken and was not waited for.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    with (entry.parent / f"{entry.name}.lock").open("a") as stream:
        yield _lock(stream, exclusive, wait)


def _lock(stream: IO[str], exclusive: bool, wait: bool) -> bool:
    if sys.platform == "win32":
        return True  # a file that is open cannot be removed there, which protects it too
    import fcntl

    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(stream, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
