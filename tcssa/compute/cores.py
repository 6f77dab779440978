"""The number of cores."""

from __future__ import annotations

import os


def num_cores() -> int:
    """Count the cores this process may use, fewer than the machine's in a container or a job."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
