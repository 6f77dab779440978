"""The visual encoders by name: slots, and baselines for them.

Shapes: N patches, V visual tokens, D features.
"""

from __future__ import annotations

import json

from torch import Tensor

from tcssa.compressor import SlotCompressor
from tcssa.compressor.aggregation import Aggregate
from tcssa.errors import UsageError
from tcssa.vqa.model.patch_pooling import AbmilVisual, KMeansVisual, MeanVisual, ToMeVisual
from tcssa.vqa.model.patch_selection import FullVisual, SampleVisual, SpatialVisual, TopVisual
from tcssa.vqa.model.visual_encoder import VisualConfig, VisualEncoder


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


_BASELINES: dict[str, type[VisualEncoder]] = {
    "sample": SampleVisual,
    "spatial": SpatialVisual,
    "topm": TopVisual,
    "kmeans": KMeansVisual,
    "tome": ToMeVisual,
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
