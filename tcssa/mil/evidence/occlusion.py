"""Occlusion: a slide is classified again without a block of patches, block by block.

It asks nothing of a method but that it classifies bags. A block's patches lie together on the slide
where that is known, and each gets an equal part of the block's effect. Effects need not add up to
the logits: of two blocks that say the same neither is missed while the other is there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tcssa.mil.methods import BagClassifier, BagsLogits

MOST_BLOCKS = 128
"""Times that a slide is classified; a slide of no more patches is occluded patch by patch."""


@torch.no_grad()
def occluded(
    model: BagClassifier, bag: Tensor, coords: Tensor | None, most_blocks: int = MOST_BLOCKS
) -> tuple[Tensor, Tensor]:
    """Compute the effect of each patch on the logits.

    Args:
        model: Any classifier in evaluation mode, on the device of the bag.
        bag: Patch features, [N, D].
        coords: Corners of the patches, [N, 2], if they are known.
        most_blocks: Most blocks, a power of two.

    Returns:
        The effects, [N, O], and the logits of the whole slide, [O].
    """
    logits = _classify(model, bag, coords)
    parts = logits.new_zeros(len(bag), len(logits))
    if len(bag) == 1:  # nothing is left without it
        parts[0] = logits
        return parts, logits
    for block in blocks(bag, coords, most_blocks):
        is_left = torch.ones(len(bag), dtype=torch.bool, device=bag.device)
        is_left[block] = False
        without = _classify(model, bag[is_left], None if coords is None else coords[is_left])
        parts[block] = (logits - without) / len(block)
    return parts, logits


def blocks(bag: Tensor, coords: Tensor | None, most_blocks: int = MOST_BLOCKS) -> list[Tensor]:
    """Divide the rows of a bag into blocks of nearly equal size.

    Args:
        bag: Patch features, [N, D].
        coords: Corners by which the longer side is halved again and again, [N, 2]; None divides
            the rows in their order.
        most_blocks: Most blocks, a power of two; a bag of no more rows is divided row by row.
    """
    rows = torch.arange(len(bag), device=bag.device)
    if len(bag) <= most_blocks:
        return list(rows.unsqueeze(1))
    if coords is None:
        return list(rows.tensor_split(most_blocks))
    coords = coords.to(bag.device)
    found = [rows]
    while len(found) < most_blocks:
        found = [half for block in found for half in _halves(block, coords)]
    return found


def _halves(block: Tensor, coords: Tensor) -> tuple[Tensor, Tensor]:
    at = coords[block]
    axis = int((at.amax(dim=0) - at.amin(dim=0)).argmax())
    order = block[at[:, axis].argsort(stable=True)]
    return order[: len(order) // 2], order[len(order) // 2 :]


def _classify(model: BagClassifier, bag: Tensor, coords: Tensor | None) -> Tensor:
    output: BagsLogits = model([bag], None, [coords]) if model.reads_coords else model([bag])
    return output.logits[0].float()
