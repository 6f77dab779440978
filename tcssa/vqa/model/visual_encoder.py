"""A visual encoder: what every kind promises, and its configuration.

Shapes: N patches, V visual tokens, D features.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tcssa.errors import ShapeError, UsageError
from tcssa.vqa.settings import VisualKind


class VisualConfig(BaseModel):
    """Kind and size of a visual encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: VisualKind = "tcssa"
    feature_dim: int | None = Field(default=None, ge=1)
    """D; with tcssa the compressor's, if not given."""
    num_tokens: int = Field(default=32, ge=1)
    """Most tokens of a slide, of the kinds that make as many as they are told."""
    budget: int | None = Field(default=None, ge=1)
    """Slots of a slide, of a nested compressor; None: all K."""
    max_patches: int = Field(default=1024, ge=1)
    """Most patches that full shows."""
    attention_dim: int = Field(default=128, ge=1)
    """Hidden width of abmil's attention, and of topm's scorer."""


class VisualEncoder(nn.Module):
    """Turns a slide's patch features [N, D] into visual tokens [V, D].

    Args:
        config: Its kind and size; `feature_dim` is set.
    """

    decisive: ClassVar[tuple[str, ...]] = ("kind", "feature_dim")
    """Fields of the configuration that decide the output."""
    fixed_length: ClassVar[bool] = True
    """True if every slide becomes as many tokens."""
    reads_um: ClassVar[bool] = True
    """True if places must be in µm; False if any unit will do."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        if config.feature_dim is None:
            raise UsageError(f"a visual encoder {config.kind} needs the length D of the features")
        self.config = config
        self.kind = config.kind
        self.reads_coords = False
        """True if it must be told where patches lie."""
        self.feature_dim: int = config.feature_dim
        """Length D of a visual token."""
        self.patch_dim = self.feature_dim
        """Length P of a patch feature; a compressor that embeds its patches makes other tokens."""

    @abstractmethod
    def num_tokens(self, num_patches: int) -> int:
        """Return V of a slide with this many patches.

        Raises:
            TooManyPatchesError: There are more patches than the encoder shows.
        """

    @abstractmethod
    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Encode one slide, as `forward` does, from features that were checked.

        Args:
            features: Patch features [N, D], float32, N at least 1.
            slide_id: Name of the slide; a random choice follows from it.
            coords: Where patches lie, (x, y) in µm, [N, 2], for an encoder that `reads_coords`.

        Returns:
            Visual tokens [V, D], float32, and the balance loss of a compressor that trains.
        """

    def forward(
        self, features: Tensor, slide_id: str, coords: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Encode one slide.

        Args:
            features: Patch features [N, P], of any floating type, N at least 1.
            slide_id: Name of the slide; a random choice follows from it.
            coords: Where patches lie, (x, y) in µm, [N, 2], for an encoder that `reads_coords`.

        Returns:
            Visual tokens [V, D], float32, and the balance loss of a compressor that trains.

        Raises:
            ShapeError: The features are not [N, P], or there are none.
            TooManyPatchesError: There are more patches than the encoder shows.
        """
        shape = list(features.shape)
        if features.dim() != 2 or shape[1] != self.patch_dim or not features.is_floating_point():
            raise ShapeError(
                f"{slide_id}: features must be floating point [N, {self.patch_dim}], "
                f"got {features.dtype} {shape}"
            )
        if not len(features):
            raise ShapeError(f"{slide_id}: there is no patch to see")
        return self.encode(features.float(), slide_id, coords)

    def describe(self) -> str:
        """Return as a line of JSON what decides the output besides weights and features."""
        facts: dict[str, Any] = {name: getattr(self.config, name) for name in self.decisive}
        return json.dumps(facts, sort_keys=True)


class TokensAsAsked(VisualEncoder):
    """Makes as many tokens as it is told; of a slide with fewer patches one of each."""

    decisive: ClassVar[tuple[str, ...]] = ("kind", "feature_dim", "num_tokens")
    fixed_length = False

    def num_tokens(self, num_patches: int) -> int:
        """Return the number asked for, or that of the patches if there are fewer."""
        return min(num_patches, self.config.num_tokens)
