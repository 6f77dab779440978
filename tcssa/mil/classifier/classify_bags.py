"""Calls of a method with the inputs it reads: features, and coordinates if it uses them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tcssa.errors import MissingDataError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.methods import BagClassifier, BagsLogits

_NAMED = 5


def check_coords(model: BagClassifier, slides: Sequence[CohortSlide]) -> None:
    """Check, before anything is computed, that slides have the coordinates that a method reads.

    Args:
        model: The method.
        slides: The slides that it is to classify.

    Raises:
        MissingDataError: The method reads coordinates and some slides have none, or it needs them
            in µm and some slides do not state their unit; the slides are named.
    """
    if not model.reads_coords:
        return
    without = [slide.slide_id for slide in slides if not slide.has_coords]
    lacking = "have no coords"
    if not without and model.needs_microns:
        without = [slide.slide_id for slide in slides if slide.um_per_coord is None]
        lacking = "do not say how many µm a pixel is (mpp_level0)"
    if without:
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        raise MissingDataError(
            f"{type(model).__name__} reads where patches lie, and the features of {len(without)} "
            f"of {len(slides)} slides {lacking}: {', '.join(without[:_NAMED])}{more}",
            hint="extract them with tcssa extract, or take a model that does without",
        )


def places_of(
    model: BagClassifier, slides: Sequence[CohortSlide], store: BagStore
) -> list[Tensor] | None:
    """Read the coordinates of each slide's patches, if the method uses them; else return None.

    Args:
        model: The method.
        slides: The slides.
        store: Reads the coordinates.
    """
    return [store.coords(slide) for slide in slides] if model.reads_coords else None


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
        slides: The slides that the bags belong to.
        bags: Patch features [N, D] of each slide, on the model's device.
        store: Reads the coordinates.
        labels: See `BagClassifier.forward`.
    """
    coords = places_of(model, slides, store)
    output: BagsLogits = model(bags, labels) if coords is None else model(bags, labels, coords)
    return output
