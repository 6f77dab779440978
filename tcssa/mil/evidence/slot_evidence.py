"""Evidence of patches for a TC-SSA classifier: its logits, divided over slots and then patches.

Between the slots' sums and the logits stand experts, a pool and a head. They are affine once what
they decide by is held at the slide's own values: the gate Φ of each GELU (GELU(z) = z·Φ(z)), the
deviation by which each LayerNorm divides, the weights of an attention pool, the winners of a max
pool. With these held, the logits are a linear function of the sums Σ_j w_jk x_j and a constant,
so they divide without rest:

- a patch gets w_jk (G_k · x_j) in each of its slots, where G_k is the gradient of the logit by the
  slot's sum and w_jk its weight there, salience included;
- what is constant within a slot (biases, places) is shared by the slot's patches by weight;
- what no slot holding a patch has (the head's biases, empty slots) is shared by mass.

The parts sum to the logits exactly. It is an attribution at this slide and not a counterfactual:
were a patch taken away, weights are normalised anew and gates move.

Shapes: N patches, K slots, D features, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from tcssa.compressor.router import salient
from tcssa.compressor.state import SlotState, folded
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.methods.base import PatchParts


def slot_parts(model: SlideClassifier, bag: Tensor, coords: Tensor | None = None) -> PatchParts:
    """Divide the logits of one slide among its patches.

    Args:
        model: Model in evaluation mode, on the device of the bag.
        bag: Patch features, [N, D], float32.
        coords: Corners in µm, [N, 2], for a model that reads them.

    Returns:
        The parts, and each patch's share of the slide's mass as its attention.

    Raises:
        NonFiniteFeatureError: A patch has a NaN or an infinity.
    """
    compressor = model.compressor
    with torch.no_grad():
        (whole,) = compressor.aggregate([bag], None if coords is None else [coords])
        rows = compressor.embedded(bag)
        state = compressor.folded(whole.state, model.budget)
        weights = salient(whole.weights, whole.salience)
        dense = bag.new_zeros(len(bag), len(whole.state.mass)).scatter(
            1, whole.assignments, weights
        )
        dense = folded(dense.T, len(state.mass)).T  # [N, K]
    sums = state.weighted_sum.detach().requires_grad_()
    with torch.enable_grad(), _GatesHeld():
        slots = compressor.refine([replace(state, weighted_sum=sums)])
        logits = model.head(slots, state.mass.unsqueeze(0))[0]
    within, mass_share = _shares(dense, state.mass)
    is_used = state.mass > 0
    parts = []
    for logit in logits:
        by_sum, by_slot = torch.autograd.grad(logit, (sums, slots), retain_graph=True)
        own = ((rows @ by_sum.T) * dense).sum(dim=1)
        of_slots = (by_slot * slots.detach()).sum(dim=2)[0] * is_used
        constants = of_slots - (by_sum * sums.detach()).sum(dim=1)
        rest = logit.detach() - of_slots.sum()
        parts.append(own + within @ constants + mass_share * rest)
    return PatchParts(torch.stack(parts, dim=1), mass_share)


def parts_by_slot(
    model: SlideClassifier, state: SlotState, assignments: Tensor, weights: Tensor
) -> PatchParts:
    """Divide the logits of one slide over its slots, and each slot's part by weight alone.

    It needs no features. The parts sum to the logits, as `slot_parts` do; patches of a slot differ
    by their weights only.

    Args:
        model: Model in evaluation mode, on the device of the state.
        state: The sums of all K slots of the model.
        assignments: Slots of each patch, [N, T].
        weights: Weight of each patch in these, salience included, [N, T].

    Raises:
        ShapeError: The model has places, and the state none in µm.
    """
    compressor = model.compressor
    dense = weights.new_zeros(len(weights), len(state.mass)).scatter(1, assignments, weights)
    state = compressor.folded(state, model.budget)
    dense = folded(dense.T, len(state.mass)).T
    slots = compressor.finish(state).unsqueeze(0).requires_grad_()
    with torch.enable_grad(), _GatesHeld():
        logits = model.head(slots, state.mass.unsqueeze(0))[0]
    within, mass_share = _shares(dense, dense.sum(dim=0))
    is_used = state.mass > 0
    parts = []
    for logit in logits:
        (by_slot,) = torch.autograd.grad(logit, slots, retain_graph=True)
        of_slots = (by_slot * slots.detach()).sum(dim=2)[0] * is_used
        parts.append(within @ of_slots + mass_share * (logit.detach() - of_slots.sum()))
    return PatchParts(torch.stack(parts, dim=1), mass_share)


def _shares(dense: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Return each patch's share of each slot's mass, [N, K], and of the slide's, [N]."""
    within = dense / torch.where(mass > 0, mass, torch.ones_like(mass))
    return within, dense.sum(dim=1) / mass.sum()


class _GatesHeld(TorchFunctionMode):
    """Makes gates, deviations and attention weights constants, as seen by gradients."""

    def __torch_function__(
        self,
        func: Callable[..., Any],  # any function of torch
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `TorchFunctionMode`."""
        held: Callable[..., Any] = _HELD.get(func, func)
        return held(*args, **(kwargs or {}))


def _gelu(z: Tensor, approximate: str = "none") -> Tensor:
    assert approximate == "none"
    gate: Tensor = torch.special.ndtr(z.detach())
    return z * gate


def _layer_norm(
    x: Tensor,
    shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    deviation = (x.detach().var(dim=-1, keepdim=True, unbiased=False) + eps).sqrt()
    normed = (x - x.mean(dim=-1, keepdim=True)) / deviation
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def _softmax(scores: Tensor, dim: int) -> Tensor:
    return scores.detach().softmax(dim)


_HELD: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.gelu: _gelu,
    F.layer_norm: _layer_norm,
    Tensor.softmax: _softmax,
}
