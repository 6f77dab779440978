"""What a model scores without seeing the slide: the floor that its accuracy stands on.

Blank: every visual token is a vector of D zeros, put through the projector like any other; their
number stays the slide's. So the prompt is the same token for token, and says nothing.

Another slide: each slide's questions are asked of another one. Slides are laid in a circle, in an
order that a hash of their names gives, and each takes the next one's tokens. So no slide meets
itself, each is used once, and the same slides always meet the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def blank(visual: Tensor) -> Tensor:
    """Visual tokens [V, D] that say nothing: zeros."""
    return torch.zeros_like(visual)


def without(visual: Tensor, slot: int) -> Tensor:
    """Visual tokens [V, D], one of them blank."""
    kept = visual.clone()
    kept[slot] = 0
    return kept


def circle(slides: Iterable[str]) -> list[str]:
    """Slides in the order of a hash of their names; each one's other slide is the next."""
    return sorted(set(slides), key=lambda name: hashlib.sha256(name.encode()).digest())


def others(order: list[str]) -> dict[str, str]:
    """The other slide of each in a `circle`; none where there is only one."""
    if len(order) < 2:
        return {}
    return dict(zip(order, order[1:] + order[:1], strict=True))
