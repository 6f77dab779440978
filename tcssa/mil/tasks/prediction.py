"""Predictions of slides, with the true labels."""

from __future__ import annotations

from dataclasses import dataclass

Truth = tuple[float | None, ...]
"""A label as numbers: (class,), (grade,), (time, event), or one a target, None if unknown."""


@dataclass(frozen=True)
class Prediction:
    """A prediction of one slide, with the slide's true label."""

    slide_id: str
    case_id: str
    label: int
    """The true class; for other kinds of label see `MilTask.label_of`."""
    probs: tuple[float, ...]
    """Probabilities of the classes; for other kinds of label see `MilTask.values`."""
    fold: int | None = None
    """The fold whose model predicted; None for an ensemble of folds."""
    truth: Truth = ()
    """The whole true label."""
