"""What every method of multiple-instance learning is, here: bags in, logits out.

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
    """What a batch of bags is taken for."""

    logits: Tensor
    """[B, C]; of other kinds of label than classes, their task's outputs."""
    extra_loss: Tensor | None = None
    """A method's own part of the loss, a mean over the bags, weighted already, 0-dim; None where it
    has none."""
    routing: RoutingSums | None = None
    """Where patches went, for methods with slots; the balance loss follows from it."""


class BagClassifier(nn.Module, ABC):
    """A method: bags to logits, and the loss it is trained with.

    A method with a loss of its own computes it by ``self.task.loss`` and says so with
    ``only_classes = False``; else it is trained on classes alone.
    """

    only_classes: ClassVar[bool] = False
    """Whether its loss has a meaning for classes that exclude each other only."""
    task: MilTask = Classes()
    """What the outputs stand for; set by who builds the model."""
    reads_coords: bool = False
    """Whether it is given where patches lie on the slide, as `PlacedClassifier` is."""
    needs_microns: bool = False
    """Whether these coordinates must be in µm."""

    def __init_subclass__(cls, **options: Any) -> None:  # whatever other base classes take
        """A loss that does not ask the task is taken to be one of classes."""
        super().__init_subclass__(**options)
        if "loss" in vars(cls) and "only_classes" not in vars(cls):
            cls.only_classes = True

    @abstractmethod
    def forward(self, bags: Sequence[Tensor], labels: Tensor | None = None) -> BagsLogits:
        """Classify bags of any sizes at once.

        Args:
            bags: Patch features of each bag, [N, D].
            labels: Classes of the bags, [B], or what else the task's loss takes; in training,
                for methods whose loss looks at patches.
        """

    def loss(self, output: BagsLogits, labels: Tensor) -> Tensor:
        """The training loss, 0-dim: the task's (of classes cross-entropy) and the method's own.

        It may look at weights only through the output: each of several processes computes the loss
        of all slides of a step, and their gradients are added up.
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
