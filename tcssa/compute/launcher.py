"""Index and number of the processes that a launcher such as `torchrun` started.

Imports nothing heavy. Communication between the processes is in `tcssa.compute.processes`.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from tcssa.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_FIND_EACH_OTHER = timedelta(minutes=10)
_TELLING_S = 5.0


def num_processes() -> int:
    """Return how many processes were started together; 1 without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _VARIABLES) else 1


def require_one_process(reason: str, *, hint: str) -> None:
    """Refuse to work under a launcher.

    Args:
        reason: Why, for the error.
        hint: What to do, for the error.

    Raises:
        UsageError: Several processes were started together.
    """
    if num_processes() > 1:
        raise UsageError(reason, hint=hint)


def process_index() -> int:
    """Return this process's number among them, from 0."""
    return int(os.environ["RANK"]) if num_processes() > 1 else 0


def local_index() -> int:
    """Return this process's number on its machine, from 0: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", process_index())) if num_processes() > 1 else 0


def is_main_process() -> bool:
    """Tell whether this is the process that writes and prints."""
    return process_index() == 0


@cache
def meeting_point() -> Store:
    """Return the key-value store where the processes find each other."""
    from torch.distributed.rendezvous import rendezvous

    store: Store
    store, _, _ = next(rendezvous("env://", timeout=_FIND_EACH_OTHER))
    return store


def is_first_to_fail() -> bool:
    """Tell whether this process, about to end with an error, is the one to report it.

    An error in one process ends them all, and an error in the input occurs in all of them: it
    should be reported once. A later process waits a moment, since a launcher ends all others as
    soon as one has ended, and the first must have printed its line by then. Processes that have not
    met yet report each for itself.
    """
    if not meeting_point.cache_info().currsize:
        return True
    try:
        is_first: bool = meeting_point().add("tcssa/failed", 1) == 1
    except Exception:  # no store, no order: rather twice than never
        return True
    if not is_first:
        time.sleep(_TELLING_S)
    return is_first
