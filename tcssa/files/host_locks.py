"""Locks between the processes of one machine, which end with the process that holds them.

What is fetched or made for all of them is fetched by the one that holds its lock, while the others
wait. For a folder that several machines share see `tcssa.files.locks`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_SUFFIX = ".lock"
_MOST_DIGITS = 20


@contextmanager
def locked(
    entry: Path,
    *,
    exclusive: bool,
    wait: bool = True,
    on_wait: Callable[[str], None] = lambda who: None,
) -> Iterator[bool]:
    """Hold the lock of a file or folder, which is a file ``NAME.lock`` beside it.

    Args:
        entry: What is locked; it need not exist.
        exclusive: Whether nobody else may hold the lock, or only nobody who wants it exclusively.
        wait: Whether to wait for the lock.
        on_wait: Told which process has the lock exclusively, as ``process 123``, before waiting.

    Yields:
        False if the lock is taken and was not waited for.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    with (entry.parent / f"{entry.name}{_SUFFIX}").open("a+") as stream:
        got = _lock(stream, exclusive, wait=False)
        if not got and wait:
            stream.seek(0)
            if pid := stream.read(_MOST_DIGITS).strip():
                on_wait(f"process {pid}")
            got = _lock(stream, exclusive, wait=True)
        if got and exclusive:
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
        yield got
        if got and exclusive:
            stream.truncate(0)


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
