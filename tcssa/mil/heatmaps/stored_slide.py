"""A slide of an encoded archive, drawn without its features.

The file of slots keeps the sums and which slots each patch went to. So the logits divide over the
slots as they do where features are at hand, but within a slot by weight alone: a patch's evidence
is, summed over its slots, its share of the slot's mass times what the slot adds to the logits. What
sets a slot's patches apart from each other is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.compressor.state import SlotState
from tcssa.errors import FeatureFileError
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.evidence import Evidence
from tcssa.mil.evidence.evidence import by_slot
from tcssa.slides.image.places import Places

_TOLERANCE = 0.05
"""Largest difference of slots that are this model's, of their size; half precision is below."""


@dataclass(frozen=True)
class StoredSlide:
    """Content of the file of a slide's slots."""

    path: Path
    num_patches: int
    state: SlotState
    """The sums of all slots of the model."""
    slots: Tensor
    """The slots in the file, [K', D]."""
    assignments: NDArray[np.int64]
    """The slots of each patch, most probable first, [N, T]."""
    weights: NDArray[np.float32]
    """Weights of each patch in these, salience included, [N, T]."""
    places: Places | str
    """Where the patches lie, or a short reason why that is not known."""


def stored_evidence(model: SlideClassifier, stored: StoredSlide, device: torch.device) -> Evidence:
    """Compute the evidence of a stored slide's patches.

    Args:
        model: The classifier, in evaluation mode, on the device.
        stored: The slide.
        device: Device to compute on.

    Raises:
        FeatureFileError: The slots are not of this model.
        ShapeError: The model has places, and the file none in µm.
    """
    config = model.compressor.config
    shape = (config.num_slots, config.feature_dim)
    state, slots = stored.state, stored.slots
    is_own = tuple(state.weighted_sum.shape) == shape
    if is_own:
        state = replace(
            state, weighted_sum=state.weighted_sum.to(device), mass=state.mass.to(device)
        )
        folded = state if len(slots) == config.num_slots else state.fold(len(slots))
        apart = (model.compressor.finish(folded).cpu() - slots).abs().max()
        is_own = bool(apart <= _TOLERANCE * slots.abs().max())
    if not is_own:
        raise FeatureFileError(
            stored.path,
            "its slots are not those that the run's model makes",
            hint="give the archive that this run, or an artefact of it, encoded",
        )
    weights = torch.from_numpy(stored.weights).to(device)
    return by_slot(model, state, torch.from_numpy(stored.assignments).to(device), weights)
