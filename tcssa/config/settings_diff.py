"""Differences between two nested mappings: the settings of a run, then and now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name every value that differs, as ``train.lr was 0.01, now 0.5``.

    Args:
        before: Earlier values, nested.
        after: Later values, nested.
        prefix: Put before each name: the sections around these values, with a dot at the end.
    """
    found = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} was {old!r}, now {new!r}")
    return found
