"""Locks on work, wherever its folder stands: on a disk, or behind an address of S3."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tcssa.errors import UploadError
from tcssa.files import locks
from tcssa.files.forwarding import store_of
from tcssa.files.lock_objects import LockObjects, held_objects, live_objects
from tcssa.files.locks import FolderLocks, Held, Owner
from tcssa.files.object_store import ObjectStore

_POLL_S = 0.05
_POLL_STORE_S = 1.0
_MOMENT_S = 2.0


def locks_in(folder: Path) -> FolderLocks | LockObjects:
    """Return the locks that this process takes in a folder, a context manager.

    Args:
        folder: The folder, on a disk or one whose files go on to a store.
    """
    store = _shared_store(folder)
    return FolderLocks(folder) if store is None else LockObjects(*store.lock_place(folder))


def held_locks(folder: Path) -> list[Held]:
    """Read the locks in a folder, sorted by name; nothing is written."""
    store = _shared_store(folder)
    return locks.held_locks(folder) if store is None else held_objects(*store.lock_place(folder))


def live_locks(folder: Path, names: Iterable[str]) -> set[str]:
    """Return the locks that a process which lives has.

    Args:
        folder: The folder of the locks.
        names: The locks to look at.
    """
    store = _shared_store(folder)
    if store is None:
        return locks.live_locks(folder, names)
    return live_objects(*store.lock_place(folder), names)


@contextmanager
def in_turn(
    folder: Path, name: str, say: Callable[[str], None], patience_s: float = math.inf
) -> Iterator[Owner | None]:
    """Hold a lock for a block, for what processes do one after another.

    Tables that the block writes stand in the store too when the next process has its turn.

    Args:
        folder: The folder of the lock.
        name: The lock.
        say: Told which process is waited for, where that takes more than a moment.
        patience_s: How long to wait for it, in seconds.

    Yields:
        None if the lock is held, else the process that kept it all the time.
    """
    store = _shared_store(folder)
    with locks_in(folder) as taken:
        began, is_said = time.monotonic(), False
        while (owner := taken.take(name)) and time.monotonic() - began < patience_s:
            if not is_said and time.monotonic() - began > _MOMENT_S:
                say(f"waiting for {owner}, which works on {name} in {folder}")
                is_said = True
            time.sleep(_POLL_S if store is None else _POLL_STORE_S)
        try:
            yield owner
        except BaseException:
            if store is not None and owner is None:
                with suppress(UploadError):  # what was written goes up in this turn or not at all
                    store.finish()
            raise
        if store is not None and owner is None:
            store.finish()


def _shared_store(folder: Path) -> ObjectStore | None:
    """Return the store that a folder's files go on to, if locks can be made there."""
    store = store_of(folder)
    return store if isinstance(store, ObjectStore) and store.is_shared else None
