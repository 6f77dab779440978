"""An encoder that runs in eager torch: a network and how it wants its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


class TorchEncoder:
    """See `tcssa.encoders.base.Encoder`.

    Args:
        name: What users call it.
        network: Normalised pixels [B, 3, H, W] to features [B, D].
        feature_dim: D.
        input_px: Side of the patches it takes.
        mean: Of each channel, in [0, 1].
        std: Deviation of each channel, in [0, 1].
        weights_hash: Changes when the weights would.
        device: Where it runs.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        feature_dim: int,
        input_px: int,
        mean: Sequence[float],
        std: Sequence[float],
        weights_hash: str,
        device: str,
    ) -> None:
        import torch

        self.name = name
        self.weights_hash = weights_hash
        self.device = device
        self.input_px = input_px
        self.feature_dim = feature_dim
        self.batch_size = 64 if device == "cuda" else 8
        self._network = network.eval().to(device)
        self._mean = torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(std, device=device).view(1, 3, 1, 1) * 255

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode RGB patches ``[b, input_px, input_px, 3]`` into features ``[b, d]``."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(patches).to(self.device).permute(0, 3, 1, 2).float()
            features = self._network((pixels - self._mean) / self._std)
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result
