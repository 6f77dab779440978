"""Measures of how much the slot of a patch tells about what the patch shows.

With patch labels: the mutual information of first slot and label over the entropy of the label
(1: the slot determines the label, 0: it tells nothing), purity, and each slot as a detector of each
label. Without: how far two models that were trained separately agree on which patches belong
together, their slots matched by Hungarian assignment.

Shapes: M patches, K slots, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tcssa.mil.slots.outlined_patches import UNKNOWN
from tcssa.mil.slots.patch_labels import PatchLabels
from tcssa.mil.slots.routed import RoutedSlide
from tcssa.statistics.metrics import Ints, count_pairs
from tcssa.statistics.ranking import area


@dataclass(frozen=True)
class SlotMeaning:
    """Relation between the slots of a fold and the labels of its test patches."""

    fold: int
    num_labelled: int
    """Number of patches with a label."""
    information: float | None
    """I(first slot; label) / H(label); None where the labels do not vary."""
    purity: float | None
    """Share of patches that have the most common label of their first slot; None without labels."""
    detectors: list[tuple[int, float | None]]
    """For each label the slot whose weight ranks its patches best, and that AUC; None where no
    patch, or every patch, has the label."""


@dataclass(frozen=True)
class SlotStability:
    """Agreement of two models on which patches belong together."""

    one: str
    other: str
    num_patches: int
    agreement: float
    """Share of patches whose first slots are partners in the best one-to-one matching."""
    partners: list[int]
    """The slot of the other model that each slot of the first is matched with."""


def meaning_of(slides: Sequence[RoutedSlide], labels: PatchLabels, num_labels: int) -> SlotMeaning:
    """Compare the first slots of a fold's labelled test patches with their labels.

    Args:
        slides: The fold's test slides.
        labels: Label of each patch by slide_id; `UNKNOWN` patches are left out.
        num_labels: C.
    """
    chosen = [labels[routed.slide.slide_id] != UNKNOWN for routed in slides]
    known = np.concatenate(
        [labels[r.slide.slide_id][rows] for r, rows in zip(slides, chosen, strict=True)]
    )
    first = np.concatenate([r.first[rows] for r, rows in zip(slides, chosen, strict=True)])
    num_slots = len(slides[0].mass)
    counts = count_pairs(first.astype(np.int64), known, num_slots, num_labels)
    weights = [
        np.concatenate([r.weight_in(slot)[rows] for r, rows in zip(slides, chosen, strict=True)])
        for slot in range(num_slots)
    ]
    detectors: list[tuple[int, float | None]] = []
    for label in range(num_labels):
        positive = known == label
        if positive.all() or not positive.any():
            detectors.append((0, None))
            continue
        scores = [area(positive, weight.astype(np.float64)) for weight in weights]
        detectors.append((int(np.argmax(scores)), max(scores)))
    purity = float(counts.max(axis=1).sum() / counts.sum()) if len(known) else None
    return SlotMeaning(slides[0].fold, len(known), information(counts), purity, detectors)


def information(counts: Ints) -> float | None:
    """Compute I(slot; label) / H(label) from the counts of their pairs, [K, C]; None if H is 0."""
    from scipy.stats import entropy  # type: ignore[import-untyped]  # no stubs

    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    of_label = entropy(counts.sum(axis=0))
    return float((entropy(counts.sum(axis=1)) + of_label - entropy(counts.ravel())) / of_label)


def stability(one: Ints, other: Ints, names: tuple[str, str], num_slots: int) -> SlotStability:
    """Match the slots of two models by the patches that they share.

    Args:
        one: First slot of each patch in the one model, [M].
        other: First slot of each patch in the other model, [M].
        names: Names of the two models.
        num_slots: K.
    """
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]  # no stubs

    counts = count_pairs(one, other, num_slots, num_slots)
    rows, partners = linear_sum_assignment(-counts)
    agreement = float(counts[rows, partners].sum() / max(1, len(one)))
    return SlotStability(*names, len(one), agreement, partners.tolist())
