"""What an extraction can be told, each default and each help text once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tcssa.settings import Section

MIN_MPP, MAX_MPP = 0.05, 20.0
"""Resolutions that a slide's level 0 can believably have, in µm per pixel."""


class ExtractSettings(Section):
    """How slides become patch features."""

    encoder: str = Field(
        default="efficientnet_lite0",
        description="Patch encoder: efficientnet_lite0 (comes along, ImageNet), "
        "efficientnet_lite0_random (a control), one that `tcssa encoders` lists, timm:<model>, "
        "open_clip:<model>/<weights>, hf:<repository>, onnx:<file>, python:<module>:<factory>.",
    )
    weights: Path | None = Field(
        default=None,
        description="The encoder's weights, where they are not in the Hugging Face cache.",
    )
    mpp: float = Field(
        default=0.5,
        ge=MIN_MPP,
        le=MAX_MPP,
        description="Resolution of the patches, in µm per pixel; met exactly, not by the "
        "nearest magnification.",
    )
    patch_size: int = Field(
        default=224,
        ge=16,
        description="Side of a patch, in pixels at that resolution. If the encoder takes "
        "another size, patches are resized to it.",
    )
    overlap: int = Field(
        default=0, ge=0, description="Pixels that neighbouring patches share; less than their side."
    )
    slide_mpp: float | None = Field(
        default=None,
        ge=MIN_MPP,
        le=MAX_MPP,
        description="Level-0 resolution of all slides, in µm per pixel, in place of what they "
        "state themselves; a manifest's own value comes before it.",
    )
    min_tissue: float = Field(
        default=0.25, ge=0, le=1, description="Least share of a patch that is tissue."
    )
    max_failed: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of unreadable patches above which a slide fails as a whole.",
    )
    dtype: Literal["float32", "float16"] = Field(
        default="float32", description="Type the features are stored in."
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Patches the encoder takes at a time (default: what suits the device).",
    )
    num_workers: int | None = Field(
        default=None,
        ge=1,
        description="Threads that decode patches (default: one a core, at most 8).",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the encoder runs; auto takes a GPU that truly works."
    )
    overwrite: bool = Field(
        default=False, description="Make features again that are there already."
    )

    @model_validator(mode="after")
    def _overlap_is_less_than_a_patch(self) -> Self:
        if self.overlap >= self.patch_size:
            raise ValueError(
                f"overlap = {self.overlap} px must be less than patch_size = {self.patch_size} px"
            )
        return self
