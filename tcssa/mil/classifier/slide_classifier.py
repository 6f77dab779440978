"""The slide classifier: compressor, a pool over the slots, a small head.

The reference's head is LayerNorm(D), Linear(512), GELU, Dropout(0.3), Linear(C); a linear one is
the last of these alone. The pool is one of `tcssa.mil.classifier.slot_pool`; the reference takes
the mean of all slots, empty ones too.

Shapes: B bags, N patches, D features, K slots, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tcssa.compressor import SlotCompressor, compressor_from_reference
from tcssa.compressor.checkpoint import (
    compressor_facts,
    config_from_facts,
    load_strictly,
    read_tensors,
    write_tensors,
)
from tcssa.compressor.reference import tensor_shape
from tcssa.errors import CheckpointError
from tcssa.files.boundary import reading
from tcssa.files.text import validated
from tcssa.mil.classifier.slot_pool import PoolName, build_pool
from tcssa.mil.methods.base import BagClassifier, BagsLogits
from tcssa.mil.tasks.serialization import named_task

MAX_OUTPUTS = 10_000
"""A method may have modules for each class, which take memory before any tensor does."""
_HEAD_LAYERS = {"0": "norm", "1": "hidden", "4": "out"}


class ClassifierConfig(BaseModel):
    """Configuration of the parts that a classifier adds to its compressor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: list[str] = Field(max_length=MAX_OUTPUTS)
    """What each output stands for."""
    head_dim: int = Field(default=512, ge=0)
    """Width of the head's hidden layer; 0 for a linear head."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    pool: PoolName = "mean"
    encoder: str | None = None
    """Encoder of the features that the classifier was trained on."""
    task: dict[str, Any] | None = None  # the facts of a task; each kind has its own
    """The task (`MilTask.facts`), if it is not plain classes."""

    def facts(self) -> dict[str, Any]:
        """Return the configuration as a checkpoint stores it; without ``task`` if that is None.

        ``embedded_from`` stands where classifiers had an embedding, and keeps files as they were.
        """
        facts = self.model_dump(exclude={"task"} if self.task is None else None)
        return {**facts, "embedded_from": None}


class SlideHead(nn.Module):
    """Head from slots [B, K, D], and their masses if the pool needs them, to logits [B, C]."""

    def __init__(self, feature_dim: int, config: ClassifierConfig) -> None:
        super().__init__()
        self.pool = build_pool(config.pool, feature_dim)
        self.needs_mass = self.pool.needs_mass
        self.is_linear = config.head_dim == 0
        if not self.is_linear:
            self.norm = nn.LayerNorm(feature_dim)
            self.hidden = nn.Linear(feature_dim, config.head_dim)
            self.activation = nn.Sequential(nn.GELU(), nn.Dropout(config.dropout))
        self.out = nn.Linear(config.head_dim or feature_dim, len(config.classes))

    def forward(self, slots: Tensor, mass: Tensor | None = None) -> Tensor:
        """Classify the pooled slots.

        Args:
            slots: [B, K, D].
            mass: Mass of each slot, [B, K]; required if `needs_mass`.

        Returns:
            Logits [B, C].
        """
        pooled = self.pool(slots, mass)
        if not self.is_linear:
            pooled = self.activation(self.hidden(self.norm(pooled)))
        logits: Tensor = self.out(pooled)
        return logits


class SlideClassifier(BagClassifier):
    """The TC-SSA classifier: compressor and head."""

    def __init__(self, compressor: SlotCompressor, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.task = named_task(config.task, config.classes)
        self.compressor = compressor
        self.head = SlideHead(compressor.config.feature_dim, config)
        self.budget: int | None = None
        """Slots that a slide is compressed to, for a nested compressor; None means all."""
        self.reads_coords = self.needs_microns = compressor.config.spatial

    def forward(
        self,
        bags: Sequence[Tensor],
        labels: Tensor | None = None,
        coords: Sequence[Tensor] | None = None,
    ) -> BagsLogits:
        """Classify bags of any sizes at once; see `PlacedClassifier.forward`.

        Args:
            bags: Patch features of each bag, [N, D].
            labels: Not used.
            coords: Corners (x, y) of each bag's patches in µm, [N, 2], for a spatial compressor.

        Raises:
            ShapeError: The compressor is spatial and no coordinates are given.
        """
        output = self.compressor.compress(bags, self.budget, coords)
        return BagsLogits(self.head(output.slots, output.mass), routing=output.routing)

    @classmethod
    def from_reference_state(
        cls, state: Mapping[str, Tensor], classes: Sequence[str], path: Path | str = "state dict"
    ) -> Self:
        """Build from the state dict of the reference's ``best_model.pth``.

        Args:
            state: The state dict.
            classes: What each output stands for.
            path: The file it comes from, for error messages.

        Raises:
            CheckpointError: Keys are missing or shapes disagree.
        """
        path = Path(path)
        compressor = compressor_from_reference(state, path)
        head = {
            f"{ours}.{kind}": state[key].float()
            for theirs, ours in _HEAD_LAYERS.items()
            for kind in ("weight", "bias")
            if (key := f"classifier.{theirs}.{kind}") in state
        }
        with reading(path, CheckpointError):
            (head_dim,) = tensor_shape(state, "classifier.1.bias", 1)
        facts = {"classes": list(classes), "head_dim": head_dim}
        config = validated(facts, path, CheckpointError, ClassifierConfig)
        feature_dim = compressor.config.feature_dim
        trained = load_strictly(lambda: SlideHead(feature_dim, config), head, path)
        model = cls(compressor, config)
        model.head = trained
        return model.eval()

    def save(self, path: Path) -> None:
        """Write compressor and head as one safetensors file, atomically.

        `tcssa.load_compressor` can read the compressor from it.
        """
        facts = compressor_facts(self.compressor.config, self.config.encoder)
        write_tensors(path, self.state_dict(), {**facts, "classifier": self.config.facts()})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; in evaluation mode, on the CPU.

        Raises:
            CheckpointError: The file is broken or holds no classifier.
        """
        tensors, facts = read_tensors(path)
        shape = config_from_facts(facts, path)
        if "classifier" not in facts:
            raise CheckpointError(
                path, "holds no slide classifier", hint="give a run of tcssa train-mil"
            )
        config = validated(facts["classifier"], path, CheckpointError, ClassifierConfig)
        model = load_strictly(lambda: cls(SlotCompressor(shape), config), tensors, path)
        return model.eval()
