"""The history of a training: losses, scores and use of the slots for every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from tcssa.compressor.balance import RoutingSums
from tcssa.files import atomic


class SlotUse(BaseModel):
    """The distribution of an epoch's patches over the slots."""

    model_config = ConfigDict(frozen=True)

    aux_excess: float
    """The balance loss minus top_k, its approximate value when routing is uniform."""
    effective_slots: float
    """Exponential of the entropy of slot use: K if all slots are used equally."""
    largest_share: float
    """Share of all assignments to the most used slot; at most 1 / top_k."""
    unused_slots: int
    utilisation: list[float]
    """Share of assignments of each slot, [K]."""

    @classmethod
    def of(cls, routing: RoutingSums, aux_excess: float) -> Self:
        """Summarise the routing of an epoch's training patches.

        Args:
            routing: Sums over the patches of the epoch.
            aux_excess: Mean balance loss of the epoch minus top_k.
        """
        share = routing.utilisation()
        return cls(
            aux_excess=aux_excess,
            effective_slots=routing.effective_slots(),
            largest_share=float(share.max()),
            unused_slots=int((share == 0).sum()),
            utilisation=[float(value) for value in share],
        )

    def collapse(self, top_k: int) -> str | None:
        """Explain why this epoch's routing counts as collapsed; return None if it does not.

        Fewer than 1.5 top_k effective slots means that nearly every patch goes to the same few
        slots: the slide has then become one mean, not K tokens. If K itself is hardly larger than
        that, K / 2 is the limit instead.
        """
        if self.effective_slots >= min(1.5 * top_k, len(self.utilisation) / 2):
            return None
        return (
            f"{self.effective_slots:.1f} of {len(self.utilisation)} slots are in effective use, "
            f"{self.unused_slots} are never used"
        )


class ValScored(BaseModel):
    """Figures with ``val_scores``, which stand in files as ``val_<name>``, each on its own."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _gather_scores(cls, content: Any) -> Any:  # anything may be offered for validation
        if not isinstance(content, dict) or "val_scores" in content:
            return content
        named = [name for name in content if name.startswith("val_") and name != "val_loss"]
        scores = {name.removeprefix("val_"): content[name] for name in named}
        rest = {name: value for name, value in content.items() if name not in named}
        return {**rest, "val_scores": scores}

    @model_serializer(mode="wrap")
    def _spread_scores(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:  # plain data
        row: dict[str, Any] = {}
        for name, value in dump(self).items():
            is_scores = name == "val_scores"
            row |= (
                {f"val_{of}": score for of, score in value.items()} if is_scores else {name: value}
            )
        return row


class Epoch(ValScored):
    """One epoch of training."""

    epoch: int
    train_loss: float
    val_loss: float
    """Loss of the validation slides; nan for the final model, which has none."""
    val_scores: dict[str, float | None]
    """Metrics of the validation part by name."""
    slots: SlotUse | None = None
    """Use of the slots; None for a method without slots."""


def write_history(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Write ``history.csv``, and for a method with slots also ``utilisation.csv``.

    Both have one row for each epoch; the second has one column for each slot.

    Args:
        folder: The fold's folder.
        epochs: The epochs of the fold, at least one.
    """
    rows = [row.model_dump(exclude={"slots"}) for row in epochs]
    figures = list(rows[0])
    history = [list(row.values()) for row in rows]
    uses = [row.slots for row in epochs if row.slots is not None]
    if uses:
        of_slots = [field for field in SlotUse.model_fields if field != "utilisation"]
        figures += of_slots
        for row, use in zip(history, uses, strict=True):
            row += [getattr(use, field) for field in of_slots]
        slots = [f"slot_{k}" for k in range(len(uses[0].utilisation))]
        shares = [[row.epoch, *use.utilisation] for row, use in zip(epochs, uses, strict=True)]
        atomic.write_csv(folder / "utilisation.csv", ["epoch", *slots], shares)
    atomic.write_csv(folder / "history.csv", figures, history)
