"""A learned embedding of the patches, before the gate: x' = ReLU(E x + b).

Attention methods have one; the paper's compressor has none. Gate, salience and sums see x', and
slots have its length. A patch is embedded by itself, so that slides stream as before.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcssa.compressor.router import require_finite


class PatchEmbedding(nn.Linear):
    """Embeds patches, always in float32: the gate chooses by what comes of it."""

    def forward(self, input: Tensor) -> Tensor:
        """Embed patches.

        Args:
            input: Patch features [N, D], of any floating type.

        Returns:
            The embedded patches x', [N, D'], float32.

        Raises:
            NonFiniteFeatureError: A feature is NaN or infinite; the error names the row.
        """
        with torch.autocast(input.device.type, enabled=False):
            hidden = F.linear(input.float(), self.weight.float(), self.bias.float())
            require_finite(input, hidden)  # here: ReLU makes 0 of minus infinity
            return hidden.relu()
