"""An encoder as one module, from the bytes of a picture to features."""

import numpy as np
import torch
from torch import Tensor, nn

from tcssa.encoders.base import Network
from tcssa.encoders.pixels import PixelsToFeatures

MEAN, STD = (0.5, 0.25, 0.75), (0.2, 0.1, 0.4)


def make(module: nn.Module) -> PixelsToFeatures:
    return PixelsToFeatures(Network(module, 12, 2, MEAN, STD))


def patches(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, 2, 2, 3), generator=generator, dtype=torch.uint8)


@torch.no_grad()
def test_pixels_are_normalised_channel_by_channel_and_channels_come_first() -> None:
    given = patches()
    expected = (given.numpy() / 255 - np.array(MEAN)) / np.array(STD)
    found = make(nn.Flatten())(given).reshape(3, 3, 2, 2)
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), atol=1e-5)


class Halves(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(2, 3)).half()


@torch.no_grad()
def test_features_are_float32_whatever_the_network_gives() -> None:
    found = make(Halves())(patches())
    assert found.dtype == torch.float32
    assert found.shape == (3, 3)


@torch.no_grad()
def test_the_network_is_not_in_training() -> None:
    module = make(nn.Sequential(nn.Flatten(), nn.Dropout(0.5)))
    assert torch.equal(module(patches()), make(nn.Flatten())(patches()))


def test_the_normalisation_is_none_of_the_weights() -> None:
    module = make(nn.Linear(2, 2))
    assert sorted(module.state_dict()) == ["network.bias", "network.weight"]
    assert module.to(torch.float64).mean.dtype == torch.float64  # but it goes where they go
