"""What of a slide the language model sees: slots, or a baseline that they are compared with.

Shapes: N patches, V visual tokens, D features.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tcssa.compressor import SlotCompressor

VisualKind = Literal["tcssa", "sample", "mean", "abmil", "full"]


class VisualConfig(BaseModel):
    """Which visual encoder, and its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: VisualKind = "tcssa"
    feature_dim: int | None = Field(default=None, ge=1)
    """D; with tcssa the compressor's, if not given."""
    num_tokens: int = Field(default=32, ge=1)
    """Patches that sample takes."""
    max_patches: int = Field(default=1024, ge=1)
    """Most patches that full shows."""
    attention_dim: int = Field(default=128, ge=1)
    """Hidden width of abmil."""


class VisualEncoder(nn.Module):
    """Turns a slide's patch features [N, D] into visual tokens [V, D]."""

    kind: VisualKind
    config: VisualConfig
    feature_dim: int

    def num_tokens(self, num_patches: int) -> int:
        """V of a slide of so many patches.

        Raises:
            TooManyPatchesError: There are more than the encoder shows.
        """
        raise NotImplementedError

    def forward(self, features: Tensor, slide_id: str) -> tuple[Tensor, Tensor | None]:
        """Encode one slide.

        Args:
            features: Patch features [N, D], N at least 1.
            slide_id: What is chosen at random follows from it.

        Returns:
            Visual tokens [V, D], float32, and the balance loss of a compressor in training.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """Everything that decides the output beside weights and features, as a line of JSON."""
        raise NotImplementedError


def build_visual(config: VisualConfig, compressor: SlotCompressor | None = None) -> VisualEncoder:
    """A visual encoder.

    Raises:
        UsageError: The compressor is missing, or D is.
    """
    raise NotImplementedError
