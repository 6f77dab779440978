"""An encoder as one torch module, from the bytes of a picture to features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcssa.encoders.base import Network


class PixelsToFeatures(nn.Module):
    """An encoder from uint8 patches to float32 features, normalisation included.

    Args:
        network: The network after the normalisation, and the normalisation's mean and deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.module
        for name, value in (("mean", network.mean), ("std", network.std)):
            scaled = torch.tensor(tuple(value)).view(1, 3, 1, 1) * 255
            self.register_buffer(name, scaled, persistent=False)
        self.eval()

    def forward(self, patches: Tensor) -> Tensor:
        """Encode uint8 patches [B, H, W, 3] into float32 features [B, D]."""
        # TensorRT wants bytes to become floats before anything else is done to them
        pixels = (patches.float().permute(0, 3, 1, 2) - self.mean) / self.std
        features: Tensor = self.network(pixels)
        return features.float()
