"""The choice of the share of variance that an automatic budget keeps (`tcssa.budgets`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tcssa.budgets import choose_budget
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classify_bags import places_of
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.tasks.prediction import Prediction

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of the variance between slots that an automatic budget may keep."""
_ALLOWED = 0.01
"""Increase of the validation loss, from that with all slots, that is tolerated."""


@torch.no_grad()
def choose_share(model: SlideClassifier, slides: Sequence[CohortSlide], store: BagStore) -> float:
    """Choose, on validation slides, how much of the variance an automatic budget keeps.

    Args:
        model: A trained classifier with a nested compressor; it is put into evaluation mode.
        slides: The validation slides.
        store: Reads their features.

    Returns:
        The smallest of `SHARES` with which the validation loss is at most 0.01 above that with all
        slots.
    """
    model.eval()
    device = model.compressor.router.gate.weight.device
    num_slots = model.compressor.config.num_slots
    at_share: dict[float, list[Prediction]] = {share: [] for share in SHARES}
    of_all: list[Prediction] = []
    for (slide,), (bag,) in store.batches([[slide] for slide in slides]):
        coords = places_of(model, [slide], store)
        (part,) = model.compressor.aggregate([bag.to(device)], coords)
        sums, mass = part.state.weighted_sum.cpu().numpy(), part.state.mass.cpu().numpy()
        at_budget: dict[int, Prediction] = {}
        for budget in model.compressor.config.budgets:
            state = model.compressor.folded(part.state, budget)
            logits = model.head(model.compressor.refine([state]), state.mass.unsqueeze(0))[0]
            values = model.task.values(logits)
            who = (slide.slide_id, slide.case_id, slide.label)
            at_budget[budget] = Prediction(*who, values, None, slide.truth)
        of_all.append(at_budget[num_slots])
        for share, predictions in at_share.items():
            predictions.append(at_budget[choose_budget(sums, mass, share)])
    most = model.task.validation_loss(of_all) + _ALLOWED
    losses = {share: model.task.validation_loss(rows) for share, rows in at_share.items()}
    return next((share for share, loss in losses.items() if loss <= most), SHARES[-1])
