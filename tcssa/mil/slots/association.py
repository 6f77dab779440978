"""Tests of whether a slot holds more of a slide in one class than in another.

For each slot of a fold, its share of the slide's mass is tested against the label: Mann–Whitney for
two classes, Kruskal–Wallis for more. The unit is the patient: slides of one patient with one label
are averaged first. The p-values of a fold's slots are corrected together (Benjamini and Hochberg
1995). Shares sum to 1 over the slots, so slots are not independent of each other: where one grows
others must shrink.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcssa.mil.slots.routed import RoutedSlide
from tcssa.statistics.ranking import area

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SlotAssociation:
    """One slot's mass share against the label."""

    fold: int
    slot: int
    test: str
    statistic: float
    """U of the second of two classes, or H of Kruskal–Wallis."""
    p_value: float
    q_value: float
    """p after the correction over the slots of the fold."""
    auc: float
    """Probability that a patient of `auc_class` has a larger share than one of another class; 0.5
    is chance."""
    auc_class: int
    """The second of two classes; of more, the one whose AUC is farthest from 0.5."""


@dataclass(frozen=True)
class FoldAssociations:
    """All slots of a fold against the label."""

    fold: int
    counts: dict[int, int]
    """Number of patients of each class that occurs among the test slides."""
    slots: list[SlotAssociation]
    """Empty where the test slides are all of one class."""

    @property
    def smallest_p(self) -> float | None:
        """Smallest p-value that this many patients allow, reached if a slot separates two classes.

        None for any number of classes but two.
        """
        if len(self.counts) != 2:
            return None
        one, other = self.counts.values()
        return min(1.0, 2 / math.comb(one + other, one))


def association_of(slides: Sequence[RoutedSlide], num_classes: int) -> FoldAssociations:
    """Test every slot of one fold.

    Args:
        slides: The fold's test slides.
        num_classes: Number of classes of the cohort; Mann–Whitney for two, else Kruskal–Wallis.
    """
    labels, shares = _by_patient(slides)
    classes, sizes = np.unique(labels, return_counts=True)
    counts = dict(zip(classes.tolist(), sizes.tolist(), strict=True))
    fold = slides[0].fold
    if len(classes) < 2:
        return FoldAssociations(fold, counts, [])
    from scipy.stats import false_discovery_control  # type: ignore[import-untyped]  # no stubs

    tested = [_test(labels, column, num_classes) for column in shares.T]
    q_values = false_discovery_control([p for _, _, p in tested]).tolist()
    rows = []
    for slot, ((name, statistic, p), q) in enumerate(zip(tested, q_values, strict=True)):
        auc, of_class = _largest_auc(labels, shares[:, slot], num_classes)
        rows.append(SlotAssociation(fold, slot, name, statistic, p, q, auc, of_class))
    return FoldAssociations(fold, counts, rows)


def _by_patient(slides: Sequence[RoutedSlide]) -> tuple[NDArray[np.int64], Floats]:
    """Return labels [P] and mean mass shares [P, K] of patients, one row a patient and label."""
    groups: dict[tuple[str, int], list[Floats]] = {}
    for slide in slides:
        key = (slide.slide.case_id, slide.slide.label)
        groups.setdefault(key, []).append(slide.mass_share)
    labels = np.array([label for _, label in groups], dtype=np.int64)
    return labels, np.stack([np.mean(shares, axis=0) for shares in groups.values()])


def _test(labels: NDArray[np.int64], share: Floats, num_classes: int) -> tuple[str, float, float]:
    """Return the test's name, its statistic and p; p = 1 for a slot whose share never varies."""
    from scipy.stats import kruskal, mannwhitneyu

    if num_classes == 2:
        first, second = share[labels == 0], share[labels == 1]
        if np.ptp(share) == 0:
            return "Mann-Whitney", len(first) * len(second) / 2, 1.0
        found = mannwhitneyu(second, first, alternative="two-sided")
        return "Mann-Whitney", float(found.statistic), float(found.pvalue)
    if np.ptp(share) == 0:
        return "Kruskal-Wallis", 0.0, 1.0
    found = kruskal(*(share[labels == c] for c in np.unique(labels)))
    return "Kruskal-Wallis", float(found.statistic), float(found.pvalue)


def _largest_auc(labels: NDArray[np.int64], share: Floats, num_classes: int) -> tuple[float, int]:
    present = [1] if num_classes == 2 else np.unique(labels).tolist()
    areas = [(area(labels == c, share), c) for c in present]
    return max(areas, key=lambda found: abs(found[0] - 0.5))
