"""The number of threads that torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_FEW_PATCHES = 2000
"""For what a step over smaller bags costs, threads wait for one another longer than they work."""


@contextmanager
def threads_for(patches_a_bag: float) -> Iterator[None]:
    """Let torch compute with one thread within the block if bags are small; else change nothing.

    Args:
        patches_a_bag: Mean number of patches of the bags that are trained on.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if patches_a_bag < _FEW_PATCHES else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
