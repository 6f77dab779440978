"""History of a training, step by step and validation by validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tcssa.files import atomic


class Record(BaseModel):
    """Some optimiser steps in a row, and the validation that followed if one did."""

    model_config = ConfigDict(frozen=True)

    step: int
    """Optimiser steps taken so far."""
    epoch: float
    """Passes over the rows so far."""
    train_loss: float
    """Cross-entropy per target token, over the steps since the last record."""
    aux_loss: float | None
    """Mean balance loss of a compressor that trains."""
    lr: float
    """Learning rate of the last step."""
    val_loss: float | None = None
    """Cross-entropy per target token of the validation rows."""
    val_accuracy: float | None = None
    """Share of the validation rows whose every learned token is the likeliest."""
    tokens_per_s: float | None = None
    """Tokens a second since the training began, over all starts."""


def write_history(path: Path, records: Sequence[Record]) -> None:
    """Write ``history.csv``, one line per record.

    Args:
        path: The file.
        records: The records, in the order of the steps.
    """
    rows = (record.model_dump().values() for record in records)
    atomic.write_csv(path, Record.model_fields, rows)


def plot_history(path: Path, records: Sequence[Record], best_step: int | None) -> None:
    """Draw training and validation loss over the steps, and mark the step that was kept.

    Args:
        path: The PNG to write.
        records: The records, in the order of the steps.
        best_step: The step that was kept; None marks none.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [record.step for record in records],
        [record.train_loss for record in records],
        color="#3b2a5a",
        linewidth=1,
        label="training",
    )
    validated = [(r.step, r.val_loss) for r in records if r.val_loss is not None]
    if validated:
        axes.plot(
            [step for step, _ in validated],
            [loss for _, loss in validated],
            color="darkorange",
            marker="o",
            markersize=4,
            label="validation",
        )
    if best_step is not None:
        axes.axvline(best_step, color="grey", linewidth=0.8, linestyle=":", label="kept")
    axes.set(xlabel="step", ylabel="cross-entropy a token", title="Loss")
    axes.legend(frameon=False)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def plot_course(path: Path, records: Sequence[Record]) -> None:
    """Draw answers right, the learning rate and the speed over the steps, one above the other.

    Args:
        path: The PNG to write.
        records: The records, in the order of the steps.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.4), layout="constrained")
    panels: tuple[tuple[str, str], ...] = (
        ("val_accuracy", "rows answered right"),
        ("lr", "learning rate"),
        ("tokens_per_s", "tokens a second"),
    )
    drawn = figure.subplots(len(panels), sharex=True)
    for axes, (name, label) in zip(drawn, panels, strict=True):
        found = [(r.step, getattr(r, name)) for r in records if getattr(r, name) is not None]
        axes.plot([step for step, _ in found], [value for _, value in found], color="#3b2a5a")
        axes.set(ylabel=label)
    drawn[-1].set(xlabel="step")
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
