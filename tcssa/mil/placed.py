"""Calling a method with what it asks for: features, and where patches lie if it reads that."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tcssa.errors import MissingDataError
from tcssa.mil.bag_store import BagStore
from tcssa.mil.cohort import CohortSlide
from tcssa.mil.methods import BagClassifier, BagsLogits, PlacedClassifier

_NAMED = 5


def check_coords(model: BagClassifier, slides: Sequence[CohortSlide]) -> None:
    """Make sure, before anything is computed, that a method gets the coords that it reads.

    Raises:
        MissingDataError: Slides have none; they are named.
    """
    if not isinstance(model, PlacedClassifier):
        return
    without = [slide.slide_id for slide in slides if not slide.has_coords]
    if without:
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        raise MissingDataError(
            f"{type(model).__name__} reads where patches lie, and the features of {len(without)} "
            f"of {len(slides)} slides have no coords: {', '.join(without[:_NAMED])}{more}",
            hint="extract them with tcssa extract, or take a --model that does without",
        )


def classify(
    model: BagClassifier,
    slides: Sequence[CohortSlide],
    bags: Sequence[Tensor],
    store: BagStore,
    labels: Tensor | None = None,
) -> BagsLogits:
    """Classify slides.

    Args:
        model: The method.
        slides: Whose bags they are.
        bags: Patch features [N, D] of each, on the model's device.
        store: Reads the coords.
        labels: See `BagClassifier.forward`.
    """
    if isinstance(model, PlacedClassifier):
        placed: BagsLogits = model(bags, labels, [store.coords(slide) for slide in slides])
        return placed
    output: BagsLogits = model(bags, labels)
    return output
