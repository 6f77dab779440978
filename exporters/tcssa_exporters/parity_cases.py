"""The fixed batches on which an exported model is compared with torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

    from tcssa import SlotCompressor

_SIZES = (1, 2, 7, 1000, 20_000)
_BATCH = 3
_LARGE_BAG = 100_000
_BORDER_PATCHES = 1000


class Case(NamedTuple):
    """One batch."""

    name: str
    features: NDArray[np.float32]
    """Patch features, [B, N, P]."""
    lengths: NDArray[np.int64]
    """Patches of each bag, [B]."""

    @property
    def coords(self) -> NDArray[np.float64]:
        """Positions in µm, [B, N, 2], for models with places: random on a slide 20 mm wide."""
        shape = (*self.features.shape[:2], 2)
        places: NDArray[np.float64] = np.random.default_rng(1).uniform(0, 20_000, shape)
        return places


def cases(models: Sequence[SlotCompressor], *, large_bag: bool = False) -> Iterator[Case]:
    """Yield the batches.

    Args:
        models: The model, or an ensemble's members: they set P, and the gate of each tells where
            patches tie between two slots.
        large_bag: Whether to add a bag of 100,000 patches, whose shares are so small that 16-bit
            formats need care.
    """
    rng = np.random.default_rng(0)
    feature_dim = models[0].config.patch_dim

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal((*shape, feature_dim), dtype=np.float32)

    for size in _SIZES:
        yield Case("one bag", normal(1, size), np.array([size]))
        # of N = 1, the second bag has no patch at all
        lengths = np.array([size, size // 2, max(1, size // 3)])
        yield Case("several bags", normal(_BATCH, size), lengths)
    # equal patches leave slots empty, and equal addends show a sum that drifts
    many = _SIZES[-1]
    yield Case("empty slots", np.repeat(normal(1, 1), many, axis=1), np.array([many]))
    yield Case("all-zero features", np.zeros((1, 1000, feature_dim), np.float32), np.array([1000]))
    yield Case("large magnitudes", 100 * normal(1, 1000), np.array([1000]))
    for model in models:
        if model.config.top_k < model.config.num_slots:
            border = _on_the_border(model, normal(_BORDER_PATCHES))
            yield Case("ties", border[None], np.array([_BORDER_PATCHES]))
    if large_bag:
        yield Case("large bag", normal(1, _LARGE_BAG), np.array([_LARGE_BAG]))


def _on_the_border(model: SlotCompressor, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move each patch [N, P] to where its last chosen slot and the next have the same logit."""
    weight, bias = _line(model.router.gate)
    moved = features.astype(np.float64)
    # a step may have changed which slots compete, and what an embedding sets to zero
    for _ in range(2 if model.embed is None else 4):
        seen, turned = moved, None
        if model.embed is not None:
            turned, offset = _line(model.embed)
            seen = np.maximum(moved @ turned.T + offset, 0)
        logits = seen @ weight.T + bias
        order = np.argsort(-logits, axis=1, kind="stable")
        last, following = order[:, model.config.top_k - 1], order[:, model.config.top_k]
        towards = weight[following] - weight[last]
        if turned is not None:
            towards = (towards * (seen > 0)) @ turned
        rows = np.arange(len(moved))
        gap = logits[rows, last] - logits[rows, following]
        moved += (gap / np.maximum((towards**2).sum(axis=1), 1e-30))[:, None] * towards
    return moved.astype(np.float32)


def _line(layer: nn.Linear) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weight and bias of a linear layer, float64."""
    weight, bias = (each.detach().cpu().double().numpy() for each in (layer.weight, layer.bias))
    return weight, bias
