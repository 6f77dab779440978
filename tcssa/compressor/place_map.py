"""The addition to a slot's centre from the slot's place: c_k + A_k q_k.

q_k are the moments of the slot's coordinates (`tcssa.moments`), A_k is a linear map of each slot's
own that starts at zero: a model with places starts as the same model without.

Shapes: B bags, K slots, M numbers of a place, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcssa.moments import VECTOR_LENGTH


class PlaceMap(nn.Module):
    """Maps the place of each slot to its features.

    Args:
        num_slots: K.
        feature_dim: D.
    """

    def __init__(self, num_slots: int, feature_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_slots, VECTOR_LENGTH, feature_dim))

    def forward(self, vectors_BKM: Tensor) -> Tensor:
        """Return what places [B, K', M] add to slots' centres, [B, K', D].

        Where there are fewer slots, as with a nested budget, the first maps serve them.
        """
        weight = self.weight[: vectors_BKM.shape[1]]
        return torch.bmm(vectors_BKM.transpose(0, 1), weight).transpose(0, 1)
