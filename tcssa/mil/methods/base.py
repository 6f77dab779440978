"""The interface of every method of multiple-instance learning: bags in, logits out.

A bag is its patches' features [N, D]. Bags of a batch are never padded: a method either works
on each by itself or on all their patches packed one after another, so a bag's result is the same
alone and in any batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tcssa.compressor.balance import RoutingSums
from tcssa.mil.tasks import Classes, MilTask


@dataclass(frozen=True)
class BagsLogits:
    """Output of a method for a batch of bags."""

    logits: Tensor
    """[B, C]; for kinds of label other than classes, [B, O] with their task's outputs."""
    extra_loss: Tensor | None = None
    """A method's own part of the loss, a mean over the bags, already weighted, 0-dim; None where it
    has none."""
    routing: RoutingSums | None = None
    """Sums of the routing, for methods with slots; the balance loss is computed from them."""


@dataclass(frozen=True)
class PatchParts:
    """A bag's logits as a sum of parts, one a patch."""

    logits: Tensor
    """[N, O]; summed over the patches they are the bag's logits."""
    attention: Tensor
    """How much each patch counts, [N]; sums to 1."""


class BagClassifier(nn.Module, ABC):
    """A method: bags to logits, and the loss it is trained with.

    A method with a loss of its own computes it by ``self.task.loss`` and sets
    ``only_classes = False``; otherwise it is trained on classes alone, without weights of classes.
    """

    only_classes: ClassVar[bool] = False
    """Whether its loss is defined only for classes that exclude each other."""
    weighs_classes: ClassVar[bool] = True
    """Whether its loss is made of the task's, which knows the weights of classes."""
    task: MilTask = Classes()
    """The meaning of the outputs; set by the builder of the model."""
    reads_coords: bool = False
    """Whether it reads the positions of patches on the slide, as `PlacedClassifier` does."""
    needs_microns: bool = False
    """Whether these positions must be in µm."""

    def __init_subclass__(cls, **options: Any) -> None:  # options of other base classes
        """Set what a subclass with its own loss does not say itself: it knows classes only."""
        super().__init_subclass__(**options)
        if "loss" in vars(cls) and "only_classes" not in vars(cls):
            cls.only_classes, cls.weighs_classes = True, False

    @abstractmethod
    def forward(self, bags: Sequence[Tensor], labels: Tensor | None = None) -> BagsLogits:
        """Classify bags of any sizes at once.

        Args:
            bags: Patch features of each bag, [N, D].
            labels: Classes of the bags, [B], or whatever the task's loss takes; given in training,
                for methods whose loss looks at patches.
        """

    def by_patch(self, bag: Tensor, coords: Tensor | None = None) -> PatchParts | None:
        """Divide a bag's logits among its patches, exactly; None where they do not divide.

        They do where the last step over the patches is a weighted sum, and what follows is linear.

        Args:
            bag: Patch features, [N, D], float32.
            coords: Corners of the patches, [N, 2], for a method that `reads_coords`.
        """
        return None

    def loss(self, output: BagsLogits, labels: Tensor) -> Tensor:
        """Compute the training loss, 0-dim: the task's loss and the method's own.

        Args:
            output: What `forward` returned.
            labels: Classes of the bags, [B], or whatever the task's loss takes.
        """
        loss = self.task.loss(output.logits.float(), labels)
        return loss if output.extra_loss is None else loss + output.extra_loss


class PlacedClassifier(BagClassifier):
    """A method that also reads where patches lie on the slide."""

    reads_coords = True

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
            coords: Corners (x, y) of each bag's patches, [N, 2], in level-0 pixels or µm.
        """


class OneByOne(BagClassifier):
    """A method that looks at one bag at a time."""

    @abstractmethod
    def classify(self, bag: Tensor) -> Tensor:
        """Return the logits [C] of one bag [N, D]."""

    def forward(self, bags: Sequence[Tensor], labels: Tensor | None = None) -> BagsLogits:
        """See `BagClassifier.forward`; bags are classified one by one."""
        return BagsLogits(torch.stack([self.classify(bag.float()) for bag in bags]))
