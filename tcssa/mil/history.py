"""What every epoch was like: losses, and whether the slots are in use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from tcssa import atomic
from tcssa.compressor.balance import RoutingSums


class SlotUse(BaseModel):
    """How the patches of an epoch were spread over the slots."""

    model_config = ConfigDict(frozen=True)

    aux_excess: float
    """The balance loss minus top_k, which it is about when routing is uniform."""
    effective_slots: float
    """Exponential of the entropy of slot use: K if all are used alike."""
    largest_share: float
    """Share of all assignments that the busiest slot took; at most 1 / top_k."""
    unused_slots: int
    utilisation: list[float]
    """Share of assignments of each slot, [K]."""

    @classmethod
    def of(cls, routing: RoutingSums, aux_excess: float) -> Self:
        """Summarise an epoch whose training patches were routed like this."""
        share = routing.utilisation()
        return cls(
            aux_excess=aux_excess,
            effective_slots=routing.effective_slots(),
            largest_share=float(share.max()),
            unused_slots=int((share == 0).sum()),
            utilisation=[float(value) for value in share],
        )

    def collapse(self, top_k: int) -> str | None:
        """Why this epoch's routing counts as collapsed; None if it does not.

        Fewer than one and a half times top_k effective slots means that nearly every patch goes
        to the same few slots: the slide has then become one mean, not K tokens. Where K itself is
        hardly more, half of it must be in use.
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
    val_auc: float | None
    slots: SlotUse | None = None
    """None for a method without slots."""


def write_history(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Write ``history.csv``; of a method with slots also ``utilisation.csv``.

    Both have a row an epoch, the second a column a slot.
    """
    figures = [field for field in Epoch.model_fields if field != "slots"]
    history = [[getattr(row, field) for field in figures] for row in epochs]
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
