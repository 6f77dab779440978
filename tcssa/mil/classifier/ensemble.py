"""Several classifiers as one: the mean of their logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tcssa.mil.methods.base import BagClassifier, BagsLogits


class Ensemble(BagClassifier):
    """The mean of the logits of several classifiers that learnt the same labels.

    Args:
        members: The classifiers, at least one.
    """

    def __init__(self, members: Sequence[BagClassifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.task = members[0].task
        self.reads_coords = any(member.reads_coords for member in members)
        self.needs_microns = any(member.needs_microns for member in members)

    @property
    def classifiers(self) -> list[BagClassifier]:
        """The members, as what they are."""
        return [member for member in self.members if isinstance(member, BagClassifier)]

    def forward(
        self,
        bags: Sequence[Tensor],
        labels: Tensor | None = None,
        coords: Sequence[Tensor] | None = None,
    ) -> BagsLogits:
        """Classify bags; see `PlacedClassifier.forward`."""
        given = (bags, labels) if coords is None else (bags, labels, coords)
        logits = []
        for member in self.classifiers:
            factor, shift = member.task.scale_on(self.task)
            found = member(*given).logits
            logits.append(found * found.new_tensor(factor) + found.new_tensor(shift))
        return BagsLogits(torch.stack(logits).mean(0))


def members_of(model: BagClassifier) -> list[BagClassifier]:
    """Return the classifiers that a classifier is the mean of: of one alone itself."""
    return model.classifiers if isinstance(model, Ensemble) else [model]
