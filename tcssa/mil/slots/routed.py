"""The path of one test slide through its fold's model: slots of its patches, and their effect.

Shapes: N patches, T = top_k, K slots, D features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.compressor.aggregation import CHUNK_PATCHES
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import CohortSlide

Floats = NDArray[np.float64]
FINAL = -1
"""Stands in place of a fold for the final model, which sees slides that are not the run's own."""


def model_name(fold: int) -> str:
    """Name the model of a fold, or the final one."""
    return "final model" if fold == FINAL else f"fold {fold}"


def model_folder(fold: int) -> str:
    """Name the folder of a fold's model, or of the final one."""
    return "final" if fold == FINAL else f"fold-{fold}"


@dataclass(frozen=True)
class RoutedSlide:
    """A test slide as its fold's model sees it."""

    fold: int
    slide: CohortSlide
    slots: NDArray[np.int16]
    """The slots of each patch, most probable first, [N, T]."""
    weights: NDArray[np.float32]
    """Gate weights P̃ of these slots, [N, T]."""
    salience: NDArray[np.float32] | None
    """Factor on each patch's weights, [N]; None where the model has no salience."""
    entropy: float
    """Mean over patches of the entropy of all K gate probabilities, divided by log K: 0 is sure,
    1 is uniform."""
    mass: Floats
    """Sum of weights in each slot, salience included, [K]; 0 marks an empty slot."""
    cosine: Floats
    """Cosine of every two slot tokens, [K, K]; NaN where one of the two slots is empty."""
    logits: Floats
    """Logits of the slide, [C]."""
    emptied: Floats
    """The logits if one slot were empty, for each slot, [K, C]."""

    @property
    def first(self) -> NDArray[np.int16]:
        """The first slot of each patch, [N]."""
        first: NDArray[np.int16] = self.slots[:, 0]
        return first

    @property
    def mass_share(self) -> Floats:
        """Each slot's part of the slide's mass, [K]; sums to 1."""
        share: Floats = self.mass / self.mass.sum()
        return share

    @property
    def predicted(self) -> int:
        """The class with the largest logit."""
        return int(self.logits.argmax())

    def weight_in(self, slot: int) -> NDArray[np.float32]:
        """Return the weight of each patch in a slot, salience included, [N]; 0 outside it."""
        weight: NDArray[np.float32] = np.where(self.slots == slot, self.weights, 0).sum(axis=1)
        return weight if self.salience is None else weight * self.salience


@torch.no_grad()
def route(
    model: SlideClassifier,
    features: Tensor,
    slide: CohortSlide,
    fold: int,
    coords: Sequence[Tensor] | None = None,
) -> RoutedSlide:
    """Send a slide through a model, in float32.

    Args:
        model: Model in evaluation mode, on the device of the features.
        features: The slide's patches, [N, D].
        slide: The slide.
        fold: The fold whose model it is.
        coords: One tensor, the slide's coordinates, if the model reads them; see
            `tcssa.mil.classifier.classify_bags.places_of`.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity.
    """
    output = model.compressor.compress([features], coords=coords)
    tokens, mass = output.slots[0], output.mass[0]
    return RoutedSlide(
        fold=fold,
        slide=slide,
        slots=output.assignments[0].cpu().numpy().astype(np.int16),
        weights=output.weights[0].cpu().numpy(),
        salience=None if output.salience is None else output.salience[0].cpu().numpy(),
        entropy=_mean_entropy(model, features),
        mass=_plain(mass),
        cosine=_plain(_cosine(tokens, mass)),
        logits=_plain(model.head(output.slots, output.mass)[0]),
        emptied=_plain(emptied_logits(model, tokens, mass)),
    )


@torch.no_grad()
def emptied_logits(model: SlideClassifier, tokens: Tensor, mass: Tensor) -> Tensor:
    """Compute the logits of a slide if one slot were empty, for each slot in turn, [K, C].

    Args:
        model: Model in evaluation mode.
        tokens: The slide's slot tokens, [K, D].
        mass: Their masses, [K].
    """
    num_slots = len(tokens)
    slots = torch.arange(num_slots, device=tokens.device)
    constant = model.compressor.experts(torch.zeros_like(tokens).unsqueeze(0))[0]
    changed = tokens.repeat(num_slots, 1, 1)
    changed[slots, slots] = constant.to(changed.dtype)
    masses = mass.repeat(num_slots, 1)
    masses[slots, slots] = 0
    logits: Tensor = model.head(changed, masses)
    return logits


def _mean_entropy(model: SlideClassifier, features: Tensor) -> float:
    total = 0.0
    for begin in range(0, len(features), CHUNK_PATCHES):
        seen = model.compressor.embedded(features[begin : begin + CHUNK_PATCHES])
        probs = model.compressor.router(seen).probs_NK
        total -= float(torch.xlogy(probs, probs).sum())
    return total / len(features) / math.log(model.compressor.config.num_slots)


def _cosine(tokens: Tensor, mass: Tensor) -> Tensor:
    """Compute the cosine of every two slot tokens, [K, K]; NaN for empty slots.

    An empty slot's token is a constant of its expert and says nothing about the slide.
    """
    unit = torch.nn.functional.normalize(tokens.float(), dim=1)
    cosine = unit @ unit.T
    empty = mass == 0
    cosine[empty] = torch.nan
    cosine[:, empty] = torch.nan
    return cosine


def _plain(values: Tensor) -> Floats:
    return values.double().cpu().numpy()
