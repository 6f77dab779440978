"""Visual encoders, which show a slide to the language model: slots, and baselines for them.

Shapes: N patches, V visual tokens, D features.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tcssa.compressor import SlotCompressor
from tcssa.compressor.aggregation import Aggregate
from tcssa.errors import ShapeError, TooManyPatchesError, UsageError
from tcssa.vqa.settings import VisualKind


class VisualConfig(BaseModel):
    """Kind and size of a visual encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: VisualKind = "tcssa"
    feature_dim: int | None = Field(default=None, ge=1)
    """D; with tcssa the compressor's, if not given."""
    num_tokens: int = Field(default=32, ge=1)
    """Patches that sample takes."""
    budget: int | None = Field(default=None, ge=1)
    """Slots of a slide, of a nested compressor; None: all K."""
    max_patches: int = Field(default=1024, ge=1)
    """Most patches that full shows."""
    attention_dim: int = Field(default=128, ge=1)
    """Hidden width of abmil's attention."""


class VisualEncoder(nn.Module):
    """Turns a slide's patch features [N, D] into visual tokens [V, D].

    Args:
        config: Its kind and size; `feature_dim` is set.
    """

    decisive: ClassVar[tuple[str, ...]] = ("kind", "feature_dim")
    """Fields of the configuration that decide the output."""

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


class SlotVisual(VisualEncoder):
    """The slots of TC-SSA."""

    def __init__(self, config: VisualConfig, compressor: SlotCompressor) -> None:
        super().__init__(config)
        self.compressor = compressor
        self.patch_dim = compressor.config.patch_dim
        self.reads_coords = compressor.config.spatial
        self.set_budget(config.budget)

    def set_budget(self, budget: int | None) -> None:
        """Set how many slots of a nested compressor a slide becomes; None: all.

        Raises:
            UsageError: The compressor does not give this number of slots.
        """
        if budget not in (None, *self.compressor.config.budgets):
            known = ", ".join(map(str, self.compressor.config.budgets))
            raise UsageError(
                f"the compressor gives {known} slots a slide, not {budget}",
                hint="fewer slots need a compressor that was trained with --nested",
            )
        self.config = self.config.model_copy(update={"budget": budget})

    def num_tokens(self, num_patches: int) -> int:
        """Return the budget, or K without one, whatever the slide."""
        return self.config.budget or self.compressor.config.num_slots

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: slots [K, D]; the balance loss in training only."""
        sums = self.sum_up(features, coords)
        return self.refined(sums), sums.routing.balance_loss() if self.training else None

    def sum_up(self, features: Tensor, coords: Tensor | None) -> Aggregate:
        """Route a slide's patches and sum them up; the arguments are those of `forward`."""
        return self.compressor.aggregate([features], None if coords is None else [coords])[0]

    def refined(self, sums: Aggregate) -> Tensor:
        """Return the slots [K, D], or [K', D] of a budget, that a slide's sums make."""
        return self.compressor.refine([self.compressor.folded(sums.state, self.config.budget)])[0]

    def describe(self) -> str:
        """Describe the compressor too, but for noise and dropout, which touch no frozen one."""
        without = {"noise_std", "dropout"}
        if not self.compressor.config.salience:  # so that older caches remain in use
            without.add("salience")
        if not self.compressor.config.nested:
            without |= {"nested", "auto_share"}
        if not self.compressor.config.spatial:
            without.add("spatial")
        if self.compressor.config.embedded_from is None:
            without.add("embedded_from")
        shape = self.compressor.config.model_dump(exclude=without)
        budget = {} if self.config.budget is None else {"budget": self.config.budget}
        return json.dumps({"kind": self.kind, **shape, **budget}, sort_keys=True)


class SampleVisual(VisualEncoder):
    """Patches chosen at random, the same ones of a slide each time, in their order."""

    decisive = ("kind", "feature_dim", "num_tokens")

    def num_tokens(self, num_patches: int) -> int:
        """Return the number asked for, or that of the patches if there are fewer."""
        return min(num_patches, self.config.num_tokens)

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the chosen patches [V, D]."""
        seed = int.from_bytes(hashlib.sha256(slide_id.encode()).digest()[:8], "big", signed=True)
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
        chosen = order[: self.num_tokens(len(features))].sort().values
        return features[chosen.to(features.device)], None


class MeanVisual(VisualEncoder):
    """One token: the mean of all patches."""

    def num_tokens(self, num_patches: int) -> int:
        """Return 1."""
        return 1

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the mean [1, D]."""
        return features.mean(dim=0, keepdim=True), None


class AbmilVisual(VisualEncoder):
    """One token: the mean of all patches, weighted by gated attention.

    Ilse et al., Attention-based Deep Multiple Instance Learning (ICML 2018): a = softmax over the
    patches of w · (tanh(V x) ⊙ sigmoid(U x)).
    """

    decisive = ("kind", "feature_dim", "attention_dim")

    def __init__(self, config: VisualConfig) -> None:
        super().__init__(config)
        self.content = nn.Linear(self.feature_dim, config.attention_dim)
        self.gate = nn.Linear(self.feature_dim, config.attention_dim)
        self.score = nn.Linear(config.attention_dim, 1)

    def num_tokens(self, num_patches: int) -> int:
        """Return 1."""
        return 1

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: the weighted mean [1, D], in float32 even under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            hidden = torch.tanh(self.content(features)) * torch.sigmoid(self.gate(features))
            attention = self.score(hidden).softmax(dim=0)
            return attention.T @ features, None


class FullVisual(VisualEncoder):
    """Every patch, as far as the language model's context reaches."""

    decisive = ("kind", "feature_dim", "max_patches")

    def num_tokens(self, num_patches: int) -> int:
        """Return the number of patches."""
        if num_patches > self.config.max_patches:
            raise TooManyPatchesError(num_patches, self.config.max_patches)
        return num_patches

    def encode(
        self, features: Tensor, slide_id: str, coords: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `VisualEncoder.encode`: all patches [N, D]."""
        self.num_tokens(len(features))
        return features, None


_BASELINES: dict[str, type[VisualEncoder]] = {
    "sample": SampleVisual,
    "mean": MeanVisual,
    "abmil": AbmilVisual,
    "full": FullVisual,
}


def build_visual(config: VisualConfig, compressor: SlotCompressor | None = None) -> VisualEncoder:
    """Build a visual encoder.

    Args:
        config: Its kind and size.
        compressor: Makes the slots of tcssa; the others take none.

    Raises:
        UsageError: tcssa has no compressor, another kind has one, D is missing, or D is not the
            compressor's.
    """
    if config.kind != "tcssa":
        if compressor is not None:
            raise UsageError(
                f"--visual {config.kind} takes no compressor", hint="leave out --compressor"
            )
        return _BASELINES[config.kind](config)
    if compressor is None:
        raise UsageError("--visual tcssa needs a compressor", hint="give --compressor RUN")
    feature_dim = compressor.config.feature_dim
    if config.feature_dim not in (None, feature_dim):
        raise UsageError(
            f"the compressor makes slots of D = {feature_dim}, not {config.feature_dim}"
        )
    return SlotVisual(config.model_copy(update={"feature_dim": feature_dim}), compressor)
