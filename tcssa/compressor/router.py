"""The gate: which slots a patch goes to, and with what weight.

TC-SSA's gated assignment (arXiv 2603.01143): z = W_g x + b_g, P = softmax(z), the two largest kept
and not renormalised. Where the published code compares ``P >= second largest`` we take indices, so
a tie never gives a patch a third slot; equal logits go to the lower slot, in torch as in ONNX.

Salience is ours: a patch's weights are multiplied by a = 2 σ(w·x + b), the same factor in each of
its slots. With w = b = 0, as training begins, a is exactly 1 and the sums are the published ones.

Shapes: N patches, D features, K slots, T = top_k.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.errors import NonFiniteFeatureError

MAX_LOGIT = 20.0
"""Bound of the salience's logit: a patch counts 4e-9 at the least, and gradients stay finite."""


class Routing(NamedTuple):
    """The slots that N patches are routed to."""

    logits_NK: Tensor
    """Gate logits, with noise in training; float32."""
    probs_NK: Tensor
    """Softmax of the logits; float32."""
    indices_NT: Tensor
    """The chosen slots, most probable first; int64."""
    weights_NT: Tensor
    """Their probabilities; float32."""
    salience_N: Tensor | None = None
    """Factor a of each patch's weights, 0 to 2; float32. None where the model has none."""

    def logsumexp(self) -> Tensor:
        """Compute logsumexp of each patch's logits [N], from its first slot: z − log softmax(z)."""
        first = self.indices_NT[:, :1]
        return (self.logits_NK.gather(1, first) - self.weights_NT[:, :1].log()).squeeze(1)

    def dense_weights(self) -> Tensor:
        """Return the weights as a matrix [N, K], salience included; 0 where a patch does not go."""
        weights = salient(self.weights_NT, self.salience_N)
        return torch.zeros_like(self.probs_NK).scatter(1, self.indices_NT, weights)


class Salience(nn.Module):
    """Learned factor by which a patch counts, a = 2 σ(w·x + b); 1 for all at the start.

    Args:
        feature_dim: D.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, feature_dim))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the factor of each patch, float32.

        Args:
            features: Patch features [..., D], float32.

        Returns:
            The factors [...], 0 to 2.
        """
        return salience_of(features, self.weight[0].float(), self.bias.float())

    def line(self) -> Tensor:
        """Return weight and bias in one line [D + 1]."""
        return torch.cat([self.weight[0], self.bias])


def salience_of(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the salience a = 2 σ(w·x + b) of patches.

    The logit is kept within ± `MAX_LOGIT`.

    Args:
        features: Patch features x, [..., D].
        weight: w, [D].
        bias: b, [1].

    Returns:
        The factors [...], 0 to 2.
    """
    return 2 * (features @ weight + bias).clamp(-MAX_LOGIT, MAX_LOGIT).sigmoid()


def salient(weights_NT: Tensor, salience_N: Tensor | None) -> Tensor:
    """Multiply routing weights by the salience of their patches, if there is one.

    Args:
        weights_NT: Routing weights [N, T].
        salience_N: Salience [N]; None leaves the weights as they are.
    """
    return weights_NT if salience_N is None else weights_NT * salience_N.unsqueeze(1)


class Router(nn.Module):
    """Routes each patch to its ``top_k`` most probable slots.

    The gate always works in float32: in half precision about one patch in a hundred would pick
    another second slot.

    Args:
        feature_dim: D.
        num_slots: K.
        top_k: Slots per patch.
        noise_std: Standard deviation of the noise on the logits, in training only.
        has_salience: Whether patches have a salience.
    """

    def __init__(
        self,
        feature_dim: int,
        num_slots: int,
        top_k: int,
        noise_std: float,
        *,
        has_salience: bool = False,
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(feature_dim, num_slots)
        self.salience = Salience(feature_dim) if has_salience else None
        self.top_k = top_k
        self.noise_std = noise_std

    def forward(self, features_ND: Tensor, patches_NP: Tensor | None = None) -> Routing:
        """Route N patches.

        Args:
            features_ND: Patch features [N, D], of any floating type.
            patches_NP: What they were before an embedding, which may overflow where these are
                finite; None where there is none.

        Raises:
            NonFiniteFeatureError: A feature is NaN or infinite; the error names the row.
        """
        with torch.autocast(features_ND.device.type, enabled=False):
            rows = features_ND.float()
            logits = F.linear(rows, self.gate.weight.float(), self.gate.bias.float())
            require_finite(features_ND if patches_NP is None else patches_NP, logits)
            if self.training and self.noise_std > 0:
                logits = logits + self.noise_std * torch.randn_like(logits)
            probs = logits.softmax(dim=1)
            indices = _largest(logits.detach(), self.top_k)
            salience = None if self.salience is None else self.salience(rows)
            return Routing(logits, probs, indices, probs.gather(1, indices), salience)


def _largest(logits_NK: Tensor, count: int) -> Tensor:
    """Return the indices [N, count] of the largest logits; the lower index wins a tie.

    `torch.topk` leaves the order of ties open; `max` promises the first.
    """
    remaining = logits_NK.clone() if count > 1 else logits_NK
    chosen = [remaining.max(dim=1, keepdim=True).indices]
    while len(chosen) < count:
        remaining.scatter_(1, chosen[-1], float("-inf"))
        chosen.append(remaining.max(dim=1, keepdim=True).indices)
    return torch.cat(chosen, dim=1)


def require_finite(features_ND: Tensor, products_NK: Tensor) -> None:
    """Require finite features by what a linear layer makes of them, which is shorter to look at.

    A NaN or an infinity in a row makes a NaN or an infinity in its products, whatever the weights
    are (infinity times zero is NaN), so finite products prove finite features.

    Args:
        features_ND: The features.
        products_NK: The layer's output: a gate's logits, for instance.

    Raises:
        NonFiniteFeatureError: A feature is NaN or infinite; the error names the row.
    """
    if torch.isfinite(products_NK.sum()):
        return
    bad = ~torch.isfinite(features_ND).all(dim=1)
    if bad.any():
        raise NonFiniteFeatureError(int(bad.nonzero()[0, 0]))
