"""Making an input smaller that shows a fault: blocks are taken out while it still does."""

from __future__ import annotations

import time
from collections.abc import Callable


def minimised(content: bytes, shows: Callable[[bytes], bool], budget_s: float) -> bytes:
    """Take blocks out of an input, half of it first and single bytes last.

    Args:
        content: The input.
        shows: Whether an input shows the fault.
        budget_s: Seconds after which the smallest so far is returned.
    """
    deadline = time.monotonic() + budget_s
    size = len(content) // 2
    while size:
        before, at = len(content), 0
        while at < len(content):
            if time.monotonic() > deadline:
                return content
            shorter = content[:at] + content[at + size :]
            if shows(shorter):
                content = shorter
            else:
                at += size
        if len(content) == before:
            size //= 2
    return content
