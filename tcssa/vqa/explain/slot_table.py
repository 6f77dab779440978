"""Mass, patches and place of every slot of a slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.compressor.aggregation import Aggregate
from tcssa.vqa.model.visual_encoders import SlotVisual


@dataclass(frozen=True)
class SlotPlaces:
    """Places of the slots that a question is asked about."""

    mass: list[float]
    """Sum of routing weights of each slot; 0 marks an empty one."""
    num_patches: list[int]
    """Patches whose first slot it is."""
    centers: list[tuple[float, float] | None]
    """Weighted mean centre (x, y) of each slot's patches in level-0 pixels; None without
    coordinates or patches."""
    first_slot: NDArray[np.int64]
    """The first slot of each patch [N]."""


@torch.no_grad()
def slot_places(
    visual: SlotVisual, sums: Aggregate, coords: Tensor | None, patch_size: int | None
) -> SlotPlaces:
    """Tell where the slots of a slide lie.

    Args:
        visual: The visual encoder, in evaluation mode.
        sums: The slide's sums and the routing of its patches; see `SlotVisual.sum_up`.
        coords: Their top-left corners in level-0 pixels [N, 2]; None if not known.
        patch_size: Side of a patch in level-0 pixels; half of it leads from corner to centre.
    """
    compressor, num_slots = visual.compressor, visual.num_tokens(len(sums.assignments))
    first = sums.assignments[:, 0] % num_slots
    if coords is not None:  # in place of any in µm, which a model with places was shown
        sums = sums.placed(coords, mpp=None)
    state = compressor.folded(sums.state, visual.config.budget)
    centers: list[tuple[float, float] | None] = [None] * num_slots
    if coords is not None and state.footprint is not None:
        half = (patch_size or 0) / 2
        for slot, (x, y) in enumerate(state.footprint.centroids().tolist()):
            if state.mass[slot] > 0:
                centers[slot] = (x + half, y + half)
    return SlotPlaces(
        mass=state.mass.tolist(),
        num_patches=torch.bincount(first, minlength=num_slots).tolist(),
        centers=centers,
        first_slot=first.cpu().numpy(),
    )


def places_side_by_side(slides: Sequence[SlotPlaces]) -> SlotPlaces:
    """Return the places of the slots of several slides, which are numbered on and on.

    Args:
        slides: Those of each slide, at least one.
    """
    starts = np.cumsum([0, *(len(each.mass) for each in slides[:-1])])
    firsts = [each.first_slot + start for each, start in zip(slides, starts, strict=True)]
    return SlotPlaces(
        mass=[mass for each in slides for mass in each.mass],
        num_patches=[number for each in slides for number in each.num_patches],
        centers=[center for each in slides for center in each.centers],
        first_slot=np.concatenate(firsts),
    )
