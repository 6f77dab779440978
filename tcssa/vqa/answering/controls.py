"""Controls that answer without seeing the slide: the floor under a model's accuracy.

Blank: every visual token is a vector of D zeros, put through the projector like any other; the
slide keeps its number of tokens. So the prompt is the same token for token, and says nothing.

Another slide: each slide's questions are asked about another one. Slides are arranged in a circle,
ordered by a hash of their names, and each takes the next one's tokens. So no slide is paired with
itself, each is used once, and the same slides always give the same pairs. Several slides that are
shown together are one in the circle, and take the next that shares none with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor


def blank(visual: Tensor) -> Tensor:
    """Return visual tokens [V, D] that say nothing: zeros."""
    return torch.zeros_like(visual)


def without(visual: Tensor, slot: int) -> Tensor:
    """Return a copy of a slide's visual tokens in which one is blank.

    Args:
        visual: The slide's visual tokens [V, D].
        slot: Index of the token to blank, from 0.
    """
    kept = visual.clone()
    kept[slot] = 0
    return kept


def circle(slides: Iterable[str]) -> list[str]:
    """Sort slides by a hash of their names; each one's other slide is the next."""
    return sorted(set(slides), key=lambda name: hashlib.sha256(name.encode()).digest())


def others(
    order: Sequence[str], paths: Mapping[str, Sequence[Path]] | None = None
) -> dict[str, str]:
    """Return the other slide of each in a `circle`; nothing where there is only one.

    Args:
        order: The circle.
        paths: Feature files by name; None where each name is of a slide of its own.
    """
    files = {name: set((paths or {}).get(name, ())) for name in order}
    found = {}
    for place, name in enumerate(order):
        after = (*order[place + 1 :], *order[:place])
        if other := next((each for each in after if not files[each] & files[name]), None):
            found[name] = other
    return found
