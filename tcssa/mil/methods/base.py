"""What every method of multiple-instance learning is, here: bags in, logits out.

A bag is its patches' features [N, D]. Bags of a batch are never padded: a method either works
on each by itself or on all their patches packed one after another, so a bag's result is the same
alone and in any batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.compressor.balance import RoutingSums


@dataclass(frozen=True)
class BagsLogits:
    """What a batch of bags is taken for."""

    logits: Tensor
    """[B, C]."""
    extra_loss: Tensor | None = None
    """A method's own part of the loss, a mean over the bags, weighted already, 0-dim; None where it
    has none."""
    routing: RoutingSums | None = None
    """Where patches went, for methods with slots; the balance loss follows from it."""


class BagClassifier(nn.Module, ABC):
    """A method: bags to logits, and the loss it is trained with."""

    @abstractmethod
    def forward(self, bags: Sequence[Tensor], labels: Tensor | None = None) -> BagsLogits:
        """Classify bags of any sizes at once.

        Args:
            bags: Patch features of each bag, [N, D].
            labels: Classes of the bags, [B]; in training, for methods whose loss looks at
                patches.
        """

    def loss(self, output: BagsLogits, labels: Tensor) -> Tensor:
        """The training loss, 0-dim: cross-entropy and the method's own part.

        It may look at weights only through the output: each of several processes computes the loss
        of all slides of a step, and their gradients are added up.
        """
        loss = F.cross_entropy(output.logits.float(), labels)
        return loss if output.extra_loss is None else loss + output.extra_loss


class PlacedClassifier(BagClassifier):
    """A method that also reads where patches lie on the slide."""

    @abstractmethod
    def forward(
        self,
        bags: Sequence[Tensor],
        labels: Tensor | None = None,
        coords: Sequence[Tensor] | None = None,
    ) -> BagsLogits:
        """Classify bags of any sizes at once.

        Args:
            bags: Patch features of each bag, [N, D].
            labels: See `BagClassifier.forward`.
            coords: Corners (x, y) of each bag's patches, [N, 2], in level-0 pixels or microns.
        """


class OneByOne(BagClassifier):
    """A method that looks at one bag at a time."""

    @abstractmethod
    def classify(self, bag: Tensor) -> Tensor:
        """Logits [C] of one bag [N, D]."""

    def forward(self, bags: Sequence[Tensor], labels: Tensor | None = None) -> BagsLogits:
        """Classify bags one by one; see `BagClassifier.forward`."""
        return BagsLogits(torch.stack([self.classify(bag.float()) for bag in bags]))
