"""A classifier's gate begun as k-means of its training patches (`tcssa.compressor.prototypes`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tcssa.compressor.prototypes import MAX_PATCHES, begin_at
from tcssa.mil.bag_store import BagStore
from tcssa.mil.cohort import CohortSlide
from tcssa.mil.model import SlideClassifier


def begin_gate(
    model: SlideClassifier, slides: Sequence[CohortSlide], store: BagStore, seed: int
) -> bool:
    """Set the gate of a classifier to prototypes of its training patches.

    Args:
        model: The classifier; its gate is changed.
        slides: The training slides.
        store: Reads their features.
        seed: Of the choice of patches and of k-means.

    Returns:
        Whether there were enough patches that differ; else the gate stays as it is.
    """
    patches = _sample(model, slides, store, np.random.default_rng(seed))
    return begin_at(model.compressor, patches, seed)


@torch.no_grad()
def _sample(
    model: SlideClassifier,
    slides: Sequence[CohortSlide],
    store: BagStore,
    rng: np.random.Generator,
) -> Tensor:
    """Draw patches of all training slides, as the gate sees them; [M, D] on the CPU."""
    most = max(1, MAX_PATCHES // max(1, len(slides)))
    device = model.compressor.router.gate.weight.device
    chosen = []
    for _, (bag,) in store.batches([[slide] for slide in slides]):
        rows = rng.permutation(len(bag))[:most]
        chosen.append(bag[torch.from_numpy(np.sort(rows))].float())
    (embedded,) = model.embedded([torch.cat(chosen).to(device)])
    return embedded.cpu()
