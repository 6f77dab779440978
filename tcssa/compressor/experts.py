"""One MLP a slot, all of them in two batched matrix products.

y_k = c_k + LN_k(W2_k · Dropout(GELU(W1_k c_k + b1_k)) + b2_k)

Shapes: B bags, K slots, D features, H hidden units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SlotExperts(nn.Module):
    """Refines every slot with an expert of its own.

    The K experts are stacked parameters, not K modules: a pass is two `bmm`, and an optimiser
    sees six tensors where a list of modules would show it two hundred.

    Args:
        num_slots: K.
        feature_dim: D.
        hidden_dim: H.
        dropout: Share of hidden units dropped in training.
    """

    def __init__(self, num_slots: int, feature_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.w_in = nn.Parameter(torch.empty(num_slots, feature_dim, hidden_dim))
        self.b_in = nn.Parameter(torch.empty(num_slots, 1, hidden_dim))
        self.w_out = nn.Parameter(torch.empty(num_slots, hidden_dim, feature_dim))
        self.b_out = nn.Parameter(torch.empty(num_slots, 1, feature_dim))
        self.norm_weight = nn.Parameter(torch.ones(num_slots, 1, feature_dim))
        self.norm_bias = nn.Parameter(torch.zeros(num_slots, 1, feature_dim))
        self.dropout = dropout
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `nn.Linear` does: uniform within 1/sqrt(fan_in)."""
        for weight, bias in ((self.w_in, self.b_in), (self.w_out, self.b_out)):
            bound = 1 / math.sqrt(weight.shape[1])
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)

    def forward(self, centers_BKD: Tensor) -> Tensor:
        """Refine slot centres [B, K, D] into slots of the same shape.

        Where there are fewer slots, as with a nested budget, the first experts refine them.
        """
        c_KBD = centers_BKD.transpose(0, 1)
        layers: tuple[Tensor, ...] = (
            self.w_in, self.b_in, self.w_out, self.b_out, self.norm_weight, self.norm_bias
        )  # fmt: skip
        if len(c_KBD) < len(self.w_in):
            layers = tuple(layer[: len(c_KBD)] for layer in layers)
        w_in, b_in, w_out, b_out, norm_weight, norm_bias = layers
        # bmm and add, not baddbmm: for one slide, whose pass is the reading of the weights, the
        # fused call reads them a fifth slower
        hidden = F.gelu(torch.bmm(c_KBD, w_in) + b_in)
        hidden = F.dropout(hidden, self.dropout, self.training)
        update = torch.bmm(hidden, w_out) + b_out
        update = F.layer_norm(update, update.shape[-1:]) * norm_weight + norm_bias
        return (c_KBD + update).transpose(0, 1)
