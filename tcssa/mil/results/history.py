"""The history of a training: losses, scores and use of the slots for every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

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


class Epoch(BaseModel):
    """One epoch of training."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    train_loss: float
    val_loss: float
    val_scores: dict[str, float | None]
    """Metrics of the validation part by name; in files and in the constructor ``val_<name>``."""
    slots: SlotUse | None = None
    """Use of the slots; None for a method without slots."""

    @model_validator(mode="before")
    @classmethod
    def _gather_scores(cls, content: Any) -> Any:  # anything may be offered for validation
        if not isinstance(content, dict) or "val_scores" in content:
            return content
        named = [name for name in content if name.startswith("val_") and name != "val_loss"]
        scores = {name.removeprefix("val_"): content[name] for name in named}
        rest = {name: value for name, value in content.items() if name not in named}
        return {**rest, "val_scores": scores}

    @model_serializer
    def _spread_scores(self) -> dict[str, Any]:  # plain data
        return {**self.figures(), "slots": self.slots and self.slots.model_dump()}

    def figures(self) -> dict[str, Any]:  # plain data
        """Return everything but the slots as one flat row."""
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            **{f"val_{name}": score for name, score in self.val_scores.items()},
        }


def write_history(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Write ``history.csv``, and for a method with slots also ``utilisation.csv``.

    Both have one row for each epoch; the second has one column for each slot.

    Args:
        folder: The fold's folder.
        epochs: The epochs of the fold, at least one.
    """
    figures = list(epochs[0].figures())
    history = [list(row.figures().values()) for row in epochs]
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
