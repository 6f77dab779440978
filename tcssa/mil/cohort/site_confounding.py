"""Confounding by site: a check whether the site of a slide alone gives its label away.

A slide's site is a column ``site`` of the label table, or the tissue source site in a TCGA
barcode (TCGA-**55**-A48Z). Staining and scanners differ between sites, and models learn them
(Howard et al. 2021, Nature Communications 12:4423): where a site's slides are all of one class, a
metric may measure the site and not the disease.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tcssa.mil.cohort.splits import Fold
from tcssa.mil.tasks import MilTask

_GIVES_AWAY = 0.5
"""Share of the majority guess's errors that the lookup must avoid to count as a confound."""


@dataclass(frozen=True)
class SiteConfound:
    """Accuracy of predicting test slides by their site alone, without looking at their patches."""

    num_slides: int
    """Number of test slides whose site was seen in training, over all folds."""
    right: int
    """Number of those whose label is the most frequent one of their site in training."""
    right_by_majority: int
    """Number of those whose label is the most frequent one in training."""

    @property
    def gives_label_away(self) -> bool:
        """True if the lookup is much better than always guessing the most frequent class."""
        wrong = self.num_slides - self.right
        wrong_by_majority = self.num_slides - self.right_by_majority
        return wrong < (1 - _GIVES_AWAY) * wrong_by_majority

    def sentence(self) -> str:
        """Return the finding in one line."""
        return (
            f"the site alone gives the label away: looking up a slide's site is right on "
            f"{self.right} of {self.num_slides} test slides, the commonest class on "
            f"{self.right_by_majority}; compare with --group-by site"
        )


def site_confounds(folds: Sequence[Fold], task: MilTask) -> dict[str, SiteConfound]:
    """Look the sites of test slides up for every target.

    Args:
        folds: The folds of a run.
        task: Says which targets there are; a lone label is the target ``""``.

    Returns:
        The result for each target by its name; targets whose test slides have no site known from
        training are left out.
    """
    seen: defaultdict[str, list[Fold]] = defaultdict(list)
    for fold in folds:
        parts = [task.views(part) for part in (fold.train, fold.val, fold.test)]
        for target in parts[0]:
            seen[target].append(Fold(*(part[target] for part in parts)))
    found = {target: site_confound(of_target) for target, of_target in seen.items()}
    return {target: confound for target, confound in found.items() if confound is not None}


def site_confound(folds: Sequence[Fold]) -> SiteConfound | None:
    """Look every test slide's site up in its fold's training part.

    Returns:
        The result over all folds; None if no test slide's site is known from training.
    """
    known = right = by_majority = 0
    for fold in folds:
        labels: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for slide in fold.train:
            if slide.site is not None:
                labels[slide.site][slide.label] += 1
        commonest = Counter(slide.label for slide in fold.train).most_common(1)[0][0]
        for slide in fold.test:
            if slide.site is not None and slide.site in labels:
                known += 1
                right += labels[slide.site].most_common(1)[0][0] == slide.label
                by_majority += commonest == slide.label
    return SiteConfound(known, right, by_majority) if known else None
