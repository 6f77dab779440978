"""What is true of a slide, and what a model took it for."""

from __future__ import annotations

from dataclasses import dataclass

Truth = tuple[float | None, ...]
"""A label as numbers: (class,), (grade,), (time, event), or one a target, None if unknown."""


@dataclass(frozen=True)
class Prediction:
    """What one slide was taken for."""

    slide_id: str
    case_id: str
    label: int
    """The class; of other kinds see `MilTask.label_of`."""
    probs: tuple[float, ...]
    """Of the classes; of other kinds see `MilTask.values`."""
    fold: int | None = None
    """The fold whose model predicted; None for an ensemble of folds."""
    truth: Truth = ()
    """The whole label."""
