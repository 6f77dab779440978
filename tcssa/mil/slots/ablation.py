"""Slot ablation: each slot is emptied in turn, and the slide is classified again.

An emptied slot is treated as the model itself treats a slot that received no patch: its centre is
0, its token is the constant that its expert makes of that, its mass is 0. With the pools ``mean``,
``attention`` and ``max`` the constant token stays in, as it does for every slot that is empty by
itself; with ``mass`` it has no weight. So one rule serves every pool, the model never meets a
number of slots that it was not trained with, and emptying an empty slot changes nothing. With
top_k = 1 it equals leaving the slot's patches out; with more, they still stand in their other
slots.

Shapes: S slides, K slots, D features, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcssa.mil.slots.routed import RoutedSlide

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SlotAblation:
    """Effect of emptying one slot, over the slides in which it holds patches."""

    fold: int
    slot: int
    num_slides: int
    true_mean: float | None
    """Mean change of the log-odds of the true class; negative where the slot supported it.
    None if the slot is empty everywhere."""
    true_sd: float | None
    """None for fewer than two slides."""
    predicted_mean: float | None
    """The same for the predicted class."""
    predicted_sd: float | None
    num_flips: int
    """Number of slides whose predicted class changes."""


def log_odds(logits: Floats) -> Floats:
    """Compute the log-odds log(p / (1 − p)) of every class from logits [..., C].

    Like the prediction, they do not change when a constant is added to all logits.
    """
    num_classes = logits.shape[-1]
    others = [np.delete(logits, c, axis=-1) for c in range(num_classes)]
    rest = [np.logaddexp.reduce(other, axis=-1) for other in others]
    odds: Floats = logits - np.stack(rest, axis=-1)
    return odds


def ablation_of(slides: Sequence[RoutedSlide]) -> list[SlotAblation]:
    """Sum up the ablation of each slot over the test slides of one fold."""
    masses = np.stack([slide.mass for slide in slides])  # [S, K]
    labels = np.array([slide.slide.label for slide in slides])
    predicted = np.array([slide.predicted for slide in slides])
    emptied = np.stack([slide.emptied for slide in slides])  # [S, K, C]
    whole = np.stack([slide.logits for slide in slides])[:, None]
    change = log_odds(emptied) - log_odds(whole)
    flips = emptied.argmax(axis=2) != predicted[:, None]
    found = []
    for slot in range(masses.shape[1]):
        used = np.flatnonzero(masses[:, slot] > 0)
        of_true = change[used, slot, labels[used]]
        of_predicted = change[used, slot, predicted[used]]
        found.append(
            SlotAblation(
                slides[0].fold,
                slot,
                len(used),
                *_spread(of_true),
                *_spread(of_predicted),
                int(flips[used, slot].sum()),
            )
        )
    return found


def _spread(values: Floats) -> tuple[float | None, float | None]:
    """Return the mean and the standard deviation, each None where there are too few values."""
    mean = float(values.mean()) if len(values) else None
    return mean, float(values.std(ddof=1)) if len(values) > 1 else None
