"""The evidence of patches, by whichever scheme the method allows.

======================================  ============================================================
method                                  evidence of a patch
======================================  ============================================================
tcssa                                   its part of the logits, gates held (`slot_evidence`)
tcssa, from an archive of slots         its share, by weight, of its slots' parts (`by_slot`)
abmil, abmilx, clam, dsmil, rrt,        its attention times its own logits, exactly
2dmamba, mean, max                      (`BagClassifier.by_patch`)
all others, a user's own among them     occlusion in blocks (`occlusion`)
an ensemble of folds                    the mean of its members' evidence
======================================  ============================================================

All but occlusion add up: the sum over the patches is the slide's logits.

Shapes: N patches, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.compressor.state import SlotState
from tcssa.mil.classifier.ensemble import Ensemble, members_of
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.evidence.occlusion import MOST_BLOCKS, occluded
from tcssa.mil.evidence.slot_evidence import parts_by_slot, slot_parts
from tcssa.mil.methods import BagClassifier

Floats = NDArray[np.float64]
Scheme = Literal["gates held", "by slot", "exact", "occlusion"]


@dataclass(frozen=True)
class Evidence:
    """The evidence of a slide's patches."""

    parts: Floats
    """For each output, [N, O]; positive where a patch raises it."""
    attention: Floats | None
    """How much each patch counts whatever it says, [N]; sums to 1. None for occlusion."""
    logits: Floats
    """The slide's outputs, [O]."""
    scheme: Scheme

    @property
    def adds_up(self) -> bool:
        """True where the parts sum to the logits."""
        return self.scheme != "occlusion"


def evidence_of(
    model: BagClassifier,
    bag: Tensor,
    coords: Tensor | None = None,
    *,
    most_blocks: int = MOST_BLOCKS,
) -> Evidence:
    """Compute the evidence of every patch of one slide.

    Args:
        model: The classifier, in evaluation mode, on the device of the bag.
        bag: Patch features, [N, D], N at least 1.
        coords: Corners of the patches, [N, 2]; required if the model reads them, otherwise used
            to occlude patches that lie together.
        most_blocks: Most blocks of occlusion, a power of two.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity.
    """
    bag = bag.float()
    at = coords if model.reads_coords else None
    if isinstance(model, Ensemble):
        each = []
        for member in model.classifiers:
            found = evidence_of(member, bag, coords, most_blocks=most_blocks)
            each.append(_scaled(found, *member.task.scale_on(model.task)))
        return _mean(each)
    if isinstance(model, SlideClassifier):
        slots = slot_parts(model, bag, at)
        return _evidence(slots.logits, slots.attention, slots.logits.sum(dim=0), "gates held")
    with torch.no_grad():
        exact = model.by_patch(bag, at)
        if exact is not None:
            return _evidence(exact.logits, exact.attention, exact.logits.sum(dim=0), "exact")
        parts, logits = occluded(model, bag, coords, most_blocks)
    return _evidence(parts, None, logits, "occlusion")


def divides(model: BagClassifier) -> bool:
    """Tell whether the evidence of a classifier's patches adds up to its logits."""
    return all(
        isinstance(member, SlideClassifier) or type(member).by_patch is not BagClassifier.by_patch
        for member in members_of(model)
    )


def by_slot(
    model: SlideClassifier, state: SlotState, assignments: Tensor, weights: Tensor
) -> Evidence:
    """Compute the evidence of patches whose features are gone; see `parts_by_slot`.

    Args:
        model: The classifier, in evaluation mode, on the device of the state.
        state: The sums of all K slots of the model.
        assignments: Slots of each patch, [N, T].
        weights: Weight of each patch in these, salience included, [N, T].

    Raises:
        ShapeError: The model has places, and the state none in µm.
    """
    slots = parts_by_slot(model, state, assignments, weights)
    return _evidence(slots.logits, slots.attention, slots.logits.sum(dim=0), "by slot")


def _scaled(one: Evidence, factor: Floats, shift: Floats) -> Evidence:
    """Return evidence for other outputs, factor × output + shift; the shift goes by attention."""
    parts = one.parts * factor
    if one.attention is not None:
        parts = parts + shift * one.attention[:, None]
    return replace(one, parts=parts, logits=one.logits * factor + shift)


def _mean(each: Sequence[Evidence]) -> Evidence:
    attention = [one.attention for one in each if one.attention is not None]
    return Evidence(
        np.mean([one.parts for one in each], axis=0),
        np.mean(attention, axis=0) if attention else None,
        np.mean([one.logits for one in each], axis=0),
        each[0].scheme,
    )


def _evidence(parts: Tensor, attention: Tensor | None, logits: Tensor, scheme: Scheme) -> Evidence:
    return Evidence(
        _plain(parts), None if attention is None else _plain(attention), _plain(logits), scheme
    )


def _plain(values: Tensor) -> Floats:
    return values.detach().double().cpu().numpy()
