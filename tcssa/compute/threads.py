"""The number of threads that torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most_threads(limit: int) -> Iterator[None]:
    """Let torch compute with at most ``limit`` threads within the block.

    Args:
        limit: Number of threads, at least 1. Fewer than it stay as they are.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, limit))
    try:
        yield
    finally:
        torch.set_num_threads(before)
