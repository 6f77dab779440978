"""Networks of the catalogue that timm builds, with the weights of their authors."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tcssa.encoders.weights import State, WeightsFile, load_into, under_one_prefix
from tcssa.optional import require

_HEADS = r"(head|fc|classifier)\."
_SWIN_BUFFERS = r".*(attn_mask|relative_position_index)$"


class ClassAndMean(nn.Module):
    """The class token beside the mean of the patch tokens; registers are left out.

    Args:
        trunk: Maps pixels to all tokens, the class token and the registers first.
        num_prefix: Number of leading tokens that are no patches.
    """

    def __init__(self, trunk: nn.Module, num_prefix: int) -> None:
        super().__init__()
        self.trunk, self.num_prefix = trunk, num_prefix

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels [B, 3, H, W] into features [B, 2 D]."""
        tokens: Tensor = self.trunk(pixels)
        return torch.cat([tokens[:, 0], tokens[:, self.num_prefix :].mean(1)], dim=-1)


def vit(
    weights: WeightsFile,
    *,
    architecture: str,
    readout: Literal["class", "class and mean"] = "class",
    swiglu: bool = False,
    **options: Any,  # of timm's own
) -> nn.Module:
    """Build a vision transformer.

    The grid of its position embedding is taken from the file; for a picture of another size timm
    interpolates it, as the authors' own loading does.

    Args:
        weights: The file of weights.
        architecture: timm's name of the architecture.
        readout: The tokens that become the feature.
        swiglu: Whether the blocks have gated layers where the architecture has plain ones.
        **options: Further options of timm's ``create_model``.
    """
    timm = require("timm", extra="encoders")
    if swiglu:
        options |= {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU}
    pool = "token" if readout == "class" else ""
    state = weights.read()
    options |= {"img_size": _picture_side(timm, architecture, state, options)}
    network: nn.Module = timm.create_model(
        architecture,
        pretrained=False,
        num_classes=0,
        global_pool=pool,
        dynamic_img_size=True,
        **options,
    )
    load_into(network, state, weights.path, ignored=_HEADS)
    if readout == "class":
        return network
    return ClassAndMean(network, network.num_prefix_tokens)  # type: ignore[arg-type]  # timm's own


def _picture_side(
    timm: Any, architecture: str, state: State, options: Mapping[str, Any]
) -> int | None:
    """Return the picture's side that the stored position embedding was trained for."""
    embedding = under_one_prefix(state, ["pos_embed", "patch_embed.proj.weight"]).get("pos_embed")
    patch = options.get("patch_size")
    if patch is None:
        patch = _patch_size_of(architecture)
    if embedding is None:
        return None  # loading will name the missing tensor
    num = embedding.shape[1]
    grid = isqrt(num)
    if grid * grid != num:
        grid = isqrt(num - 1)  # one of them is the class token's
    return grid * int(patch)


def _patch_size_of(architecture: str) -> int:
    """Read the patch size off timm's name, such as ``vit_small_patch8_224``."""
    _, _, rest = architecture.partition("patch")
    return int(rest.partition("_")[0])


class ThirdStage(nn.Module):
    """A ResNet up to its third stage, averaged over the picture: CLAM's and TRIDENT's features."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            network.conv1, network.bn1, network.act1, network.maxpool,
            network.layer1, network.layer2, network.layer3,
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels [B, 3, H, W] into features [B, 1024]."""
        maps: Tensor = self.layers(pixels)
        return maps.mean((2, 3))


def resnet(weights: WeightsFile, *, architecture: str) -> nn.Module:
    """Build a ResNet that is cut after its third stage.

    Args:
        weights: The file of weights.
        architecture: timm's name of the architecture.
    """
    timm = require("timm", extra="encoders")
    network = timm.create_model(architecture, pretrained=False, num_classes=0)
    load_into(network, weights.read(), weights.path, ignored=_HEADS)
    return ThirdStage(network)


class ConvStem(nn.Module):
    """CTransPath's three convolutions in place of a Swin transformer's cut into patches.

    Args:
        img_size: Height and width of the picture, in pixels.
        patch_size: 4, the product of two strides of two.
        embed_dim: Channels of the output.
        norm_layer: Makes the normalisation of the output.
        **_options: Further options that timm passes; not used.
    """

    def __init__(
        self,
        img_size: tuple[int, int],
        patch_size: int,
        embed_dim: int,
        norm_layer: Any,
        **_options: Any,
    ) -> None:
        super().__init__()
        self.grid_size = (img_size[0] // patch_size, img_size[1] // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        narrow, wide = embed_dim // 8, embed_dim // 4
        self.proj = nn.Sequential(
            nn.Conv2d(3, narrow, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, embed_dim, 1),
        )
        self.norm = norm_layer(embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels [B, 3, H, W] to [B, H / 4, W / 4, D]."""
        result: Tensor = self.norm(self.proj(pixels).permute(0, 2, 3, 1))
        return result


def ctranspath(weights: WeightsFile, **options: Any) -> nn.Module:
    """Build CTransPath: a Swin transformer behind a convolutional stem.

    Its file was written with timm of 2021, whose stages end with the merging of patches; in later
    versions they begin with it.
    """
    timm = require("timm", extra="encoders")
    network: nn.Module = timm.create_model(
        "swin_tiny_patch4_window7_224",
        pretrained=False,
        num_classes=0,
        embed_layer=ConvStem,
        **options,
    )
    state = under_one_prefix(weights.read(), ["patch_embed.proj.0.weight", "norm.weight"])
    state = {_merging_first(name): value for name, value in state.items()}
    load_into(network, state, weights.path, ignored=f"{_HEADS}|{_SWIN_BUFFERS}")
    return network


def _merging_first(name: str) -> str:
    stage, _, rest = name.removeprefix("layers.").partition(".")
    if name.startswith("layers.") and rest.startswith("downsample."):
        return f"layers.{int(stage) + 1}.{rest}"
    return name
