"""The gate: which slots a patch goes to, and with what weight.

TC-SSA's gated assignment (DESIGN: z = W_g x + b_g, P = softmax(z), the two largest kept and not
renormalised). Where the published code compares ``P >= second largest`` we take indices, so a
tie never gives a patch a third slot; equal logits go to the lower slot, in torch as in ONNX.

Shapes: N patches, D features, K slots, T = top_k.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.errors import NonFiniteFeatureError


class Routing(NamedTuple):
    """Where N patches go."""

    logits_NK: Tensor
    """Gate logits, with noise in training; float32."""
    probs_NK: Tensor
    """Softmax of the logits; float32."""
    indices_NT: Tensor
    """The chosen slots, most probable first; int64."""
    weights_NT: Tensor
    """Their probabilities; float32."""

    def logsumexp(self) -> Tensor:
        """Logsumexp of each patch's logits [N], read off its first slot: z − log softmax(z)."""
        first = self.indices_NT[:, :1]
        return (self.logits_NK.gather(1, first) - self.weights_NT[:, :1].log()).squeeze(1)

    def dense_weights(self) -> Tensor:
        """The weights as a matrix [N, K], 0 where a patch does not go."""
        return torch.zeros_like(self.probs_NK).scatter(1, self.indices_NT, self.weights_NT)


class Router(nn.Module):
    """Routes each patch to its ``top_k`` most probable slots.

    The gate always works in float32: in half precision about one patch in a hundred would pick
    another second slot.

    Args:
        feature_dim: D.
        num_slots: K.
        top_k: Slots per patch.
        noise_std: Standard deviation of the noise on the logits, in training only.
    """

    def __init__(self, feature_dim: int, num_slots: int, top_k: int, noise_std: float) -> None:
        super().__init__()
        self.gate = nn.Linear(feature_dim, num_slots)
        self.top_k = top_k
        self.noise_std = noise_std

    def forward(self, features_ND: Tensor) -> Routing:
        """Route N patches.

        Args:
            features_ND: Patch features [N, D], of any floating type.

        Raises:
            NonFiniteFeatureError: A feature is NaN or infinite; it names the row.
        """
        with torch.autocast(features_ND.device.type, enabled=False):
            logits = F.linear(features_ND.float(), self.gate.weight.float(), self.gate.bias.float())
            _require_finite(features_ND, logits)
            if self.training and self.noise_std > 0:
                logits = logits + self.noise_std * torch.randn_like(logits)
            probs = logits.softmax(dim=1)
            indices = _largest(logits.detach(), self.top_k)
            return Routing(logits, probs, indices, probs.gather(1, indices))


def _largest(logits_NK: Tensor, count: int) -> Tensor:
    """Indices [N, count] of the largest logits; the lower index wins a tie.

    `torch.topk` leaves the order of ties open; `max` promises the first.
    """
    remaining = logits_NK.clone() if count > 1 else logits_NK
    chosen = [remaining.max(dim=1, keepdim=True).indices]
    while len(chosen) < count:
        remaining.scatter_(1, chosen[-1], float("-inf"))
        chosen.append(remaining.max(dim=1, keepdim=True).indices)
    return torch.cat(chosen, dim=1)


def _require_finite(features_ND: Tensor, logits_NK: Tensor) -> None:
    """Find a non-finite feature by its logits, which cost D/K times less to look at.

    A NaN or an infinity in a row makes a NaN or an infinity in its logits, whatever the gate's
    weights are (infinity times zero is NaN), so finite logits prove finite features.
    """
    if torch.isfinite(logits_NK.sum()):
        return
    bad = ~torch.isfinite(features_ND).all(dim=1)
    if bad.any():
        raise NonFiniteFeatureError(int(bad.nonzero()[0, 0]))
