"""The encoders known by name: their features, weights and normalisation of pixels.

Names are TRIDENT's. Where authors and TRIDENT disagree about the feature, the entry says which
one it uses. No large package is imported before an entry is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tcssa.encoders.base import Precision
from tcssa.encoders.weights import HubFiles, WeightsFile

if TYPE_CHECKING:
    from torch import nn

Pixel = tuple[float, float, float]
Build = Callable[[WeightsFile], "nn.Module"]

IMAGENET: tuple[Pixel, Pixel] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OPENAI: tuple[Pixel, Pixel] = (
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711),
)  # fmt: skip
_HALVES: tuple[Pixel, Pixel] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_BIOPTIMUS: tuple[Pixel, Pixel] = (
    (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517),
)  # fmt: skip
_HIBOU: tuple[Pixel, Pixel] = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
_LUNIT: tuple[Pixel, Pixel] = (
    (0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464),
)  # fmt: skip

_ANY_MAGNIFICATION = (0.25, 0.5, 1.0, 2.0)
_NC_ND = "CC-BY-NC-ND-4.0"
_BIN, _TENSORS = "pytorch_model.bin", "model.safetensors"


@dataclass(frozen=True)
class Entry:
    """An encoder of the catalogue."""

    name: str
    source: HubFiles
    build: Build
    """Builds the network, from normalised pixels to features, from a file of weights."""
    feature_dim: int
    feature: str
    """Description of the feature, in words."""
    trained_mpp: tuple[float, ...] = (0.5,)
    """Resolutions it was trained at, in µm per pixel; empty if unknown."""
    input_px: int = 224
    pixels: tuple[Pixel, Pixel] = IMAGENET
    """Mean and deviation of each channel, in [0, 1]."""
    gpu_precision: Precision = "float32"
    needs: str | None = "encoders"
    """The extra of tcssa that it needs."""


def _timm(kind: str, /, **options: Any) -> Build:
    def build(weights: WeightsFile, **more: Any) -> nn.Module:
        from tcssa.encoders import timm_networks

        network: nn.Module = getattr(timm_networks, kind)(weights, **more)
        return network

    return partial(build, **options)


def _conch(kind: str, /, **options: Any) -> Build:
    def build(weights: WeightsFile, **more: Any) -> nn.Module:
        from tcssa.encoders import conch

        network: nn.Module = getattr(conch, kind)(weights, **more)
        return network

    return partial(build, **options)


def _transformers(model: str, /, **options: Any) -> Build:
    def build(weights: WeightsFile, **more: Any) -> nn.Module:
        from tcssa.encoders.transformers_networks import vision_transformer

        return vision_transformer(weights, model=model, **more)  # type: ignore[arg-type]

    return partial(build, **options)


def _kaiko(size: str, architecture: str, dim: int) -> Entry:
    repo = f"1aurent/{architecture}.kaiko_ai_towards_large_pathology_fms"
    return Entry(
        f"kaiko-{size}",
        HubFiles(repo, (_TENSORS,), "kaiko non-commercial", gated=False),
        _timm("vit", architecture=architecture),
        dim,
        "class token",
        trained_mpp=_ANY_MAGNIFICATION,
        pixels=_HALVES,
    )


_ENTRIES = (
    Entry(
        "conch_v1",
        HubFiles("MahmoodLab/CONCH", (_BIN,), _NC_ND, gated=True),
        _conch("conch_v1", input_px=448),
        512,
        "attention pooling, before the projection beside text",
        input_px=448,
        pixels=_OPENAI,
    ),
    Entry(
        "conch_v15",
        HubFiles("MahmoodLab/conchv1_5", ("pytorch_model_vision.bin",), _NC_ND, gated=True),
        _conch("conch_v15", input_px=448),
        768,
        "attention pooling",
        input_px=448,
        gpu_precision="float16",
    ),
    Entry(
        "uni_v1",
        HubFiles("MahmoodLab/UNI", (_BIN,), _NC_ND, gated=True),
        _timm("vit", architecture="vit_large_patch16_224", init_values=1e-5),
        1024,
        "class token",
        gpu_precision="float16",
    ),
    Entry(
        "uni_v2",
        HubFiles("MahmoodLab/UNI2-h", (_BIN,), _NC_ND, gated=True),
        _timm(
            "vit", architecture="vit_giant_patch14_224", swiglu=True, patch_size=14, depth=24,
            num_heads=24, init_values=1e-5, embed_dim=1536, mlp_ratio=2.66667 * 2,
            no_embed_class=True, reg_tokens=8,
        ),
        1536,
        "class token",
        gpu_precision="bfloat16",
    ),
    Entry(
        "virchow",
        HubFiles("paige-ai/Virchow", (_BIN, _TENSORS), "Apache-2.0", gated=True),
        _timm(
            "vit", architecture="vit_huge_patch14_224", swiglu=True, init_values=1e-5,
            mlp_ratio=5.3375, readout="class and mean",
        ),
        2560,
        "class token and mean of patch tokens",
        gpu_precision="float16",
    ),
    Entry(
        "virchow2",
        HubFiles("paige-ai/Virchow2", (_BIN, _TENSORS), _NC_ND, gated=True),
        _timm(
            "vit", architecture="vit_huge_patch14_224", swiglu=True, init_values=1e-5,
            mlp_ratio=5.3375, reg_tokens=4, readout="class and mean",
        ),
        2560,
        "class token and mean of patch tokens",
        trained_mpp=_ANY_MAGNIFICATION,
        gpu_precision="float16",
    ),
    Entry(
        "gigapath",
        HubFiles("prov-gigapath/prov-gigapath", (_BIN,), "Apache-2.0", gated=True),
        _timm(
            "vit", architecture="vit_giant_patch14_dinov2", patch_size=16, embed_dim=1536,
            depth=40, num_heads=24, mlp_ratio=5.33334,
        ),
        1536,
        "class token",
        gpu_precision="float16",
    ),
    Entry(
        "hoptimus0",
        HubFiles("bioptimus/H-optimus-0", (_BIN, _TENSORS), "Apache-2.0", gated=True),
        _timm("vit", architecture="vit_giant_patch14_reg4_dinov2", init_values=1e-5),
        1536,
        "class token",
        pixels=_BIOPTIMUS,
        gpu_precision="float16",
    ),
    Entry(
        "hoptimus1",
        HubFiles("bioptimus/H-optimus-1", (_BIN, _TENSORS), _NC_ND, gated=True),
        _timm("vit", architecture="vit_giant_patch14_reg4_dinov2", init_values=1e-5),
        1536,
        "class token",
        pixels=_BIOPTIMUS,
        gpu_precision="float16",
    ),
    Entry(
        "phikon",
        HubFiles(
            "owkin/phikon", (_TENSORS, _BIN), "Owkin non-commercial", gated=False, with_config=True
        ),
        _transformers(
            "ViT", hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
            intermediate_size=3072, patch_size=16, layer_norm_eps=1e-12,
        ),
        768,
        "class token",
        needs=None,
    ),
    Entry(
        "phikon_v2",
        HubFiles("owkin/phikon-v2", (_TENSORS,), "Owkin non-commercial", False, with_config=True),
        _transformers(
            "Dinov2", hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
            mlp_ratio=4, patch_size=16, use_swiglu_ffn=False, layer_norm_eps=1e-6,
        ),
        1024,
        "class token",
        needs=None,
    ),
    Entry(
        "midnight12k",
        HubFiles("kaiko-ai/midnight", (_TENSORS,), "MIT", gated=False, with_config=True),
        _transformers(
            "Dinov2", hidden_size=1536, num_hidden_layers=40, num_attention_heads=24,
            mlp_ratio=4, patch_size=14, use_swiglu_ffn=True, layer_norm_eps=1e-6,
            readout="class and mean",
        ),
        3072,
        "class token and mean of patch tokens",
        trained_mpp=_ANY_MAGNIFICATION,
        pixels=_HALVES,
        gpu_precision="float16",
        needs=None,
    ),
    Entry(
        "hibou_l",
        HubFiles("histai/hibou-L", (_TENSORS, _BIN), "Apache-2.0", gated=True, with_config=True),
        _transformers(
            "Dinov2WithRegisters", hidden_size=1024, num_hidden_layers=24,
            num_attention_heads=16, mlp_ratio=4, patch_size=14, use_swiglu_ffn=True,
            num_register_tokens=4, layer_norm_eps=1e-6,
        ),
        1024,
        "class token",
        pixels=_HIBOU,
        needs=None,
    ),
    Entry(
        "ctranspath",
        HubFiles(
            "MahmoodLab/hest-bench", ("fm_v1/ctranspath/CHIEF_CTransPath.pth",), "GPL-3.0",
            gated=False, is_dataset=True,
        ),
        _timm("ctranspath"),
        768,
        "mean of the last stage",
        trained_mpp=(1.0,),
    ),
    _kaiko("vits8", "vit_small_patch8_224", 384),
    _kaiko("vits16", "vit_small_patch16_224", 384),
    _kaiko("vitb8", "vit_base_patch8_224", 768),
    _kaiko("vitb16", "vit_base_patch16_224", 768),
    _kaiko("vitl14", "vit_large_patch14_reg4_dinov2", 1024),
    Entry(
        "lunit-vits8",
        HubFiles(
            "1aurent/vit_small_patch8_224.lunit_dino", (_TENSORS,), "Lunit non-commercial",
            gated=False,
        ),
        _timm("vit", architecture="vit_small_patch8_224"),
        384,
        "class token",
        trained_mpp=(0.25, 0.5),
        pixels=_LUNIT,
    ),
    Entry(
        "resnet50",
        HubFiles("timm/resnet50.tv_in1k", (_TENSORS, _BIN), "BSD-3-Clause", gated=False),
        _timm("resnet", architecture="resnet50"),
        1024,
        "mean of the third stage",
        trained_mpp=(),
    ),
)  # fmt: skip

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""Entries by name."""
