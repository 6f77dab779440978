"""Calls of a method with the inputs it reads: features, and coordinates if it uses them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tcssa.errors import MissingDataError, UsageError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.methods import BagClassifier, BagsLogits
from tcssa.mil.tasks.prediction import Prediction
from tcssa.training import autocast

_NAMED = 5


def check_coords(model: BagClassifier, slides: Sequence[CohortSlide]) -> None:
    """Check, before anything is computed, that slides have the coordinates that a method reads.

    Args:
        model: The method.
        slides: The slides that it is to classify.

    Raises:
        MissingDataError: The method reads coordinates and some slides have none, or it needs them
            in µm and some slides do not state their unit; the slides are named.
        UsageError: The method reads coordinates, and a bag is of several slides.
    """
    if not model.reads_coords:
        return
    several = next((slide for slide in slides if len(slide.parts) > 1), None)
    if several is not None:
        raise UsageError(
            f"{type(model).__name__} reads where patches lie, and places of different slides do "
            f"not add up: patient {several.case_id} has {len(several.parts)} slides",
            hint="train it with --unit slide, or take a model that does without places",
        )
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


@torch.no_grad()
def predict(
    model: BagClassifier,
    slides: Sequence[CohortSlide],
    store: BagStore,
    device: torch.device,
    precision: str = "fp32",
    fold: int | None = None,
) -> list[Prediction]:
    """Predict slides one by one, so that no prediction depends on the others.

    Args:
        model: The classifier; it is put into evaluation mode.
        slides: The slides.
        store: Reads their features.
        device: The model's device.
        precision: Number format, ``fp32`` or ``bf16``.
        fold: Number of the fold that is noted in the predictions; None for none.

    Raises:
        MissingDataError: The method reads coordinates that some slides lack.
    """
    model.eval()
    check_coords(model, slides)
    predictions = []
    for (slide,), (bag,) in store.batches([[slide] for slide in slides]):
        with autocast(device, precision):
            logits = classify(model, [slide], [bag.to(device, non_blocking=True)], store).logits
        values = model.task.values(logits[0])
        who = (slide.slide_id, slide.case_id, slide.label)
        predictions.append(Prediction(*who, values, fold, slide.truth))
    return predictions
