"""Predictions: one row a slide, and the CSV they live in."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcssa import atomic
from tcssa.mil.metrics import Floats, Ints, score_all


@dataclass(frozen=True)
class Prediction:
    """What one slide was taken for."""

    slide_id: str
    case_id: str
    label: int
    probs: tuple[float, ...]
    fold: int | None = None
    """The fold whose model predicted; None for an ensemble of folds."""


def as_arrays(predictions: Sequence[Prediction]) -> tuple[Ints, Floats, list[str]]:
    """Labels [S], probabilities [S, C] and the patient of each slide."""
    labels = np.array([row.label for row in predictions], dtype=np.int64)
    probs = np.array([row.probs for row in predictions], dtype=np.float64)
    return labels, probs, [row.case_id for row in predictions]


def score_predictions(predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
    """All metrics of predictions; see `score_all`.

    A slide that several folds tested has as many predictions, and counts as one slide.
    """
    labels, probs, cases = as_arrays(predictions)
    scores = score_all(labels, probs, cases, seed=seed)
    num_slides = len({row.slide_id for row in predictions})
    return {**scores, "num_slides": num_slides, "num_predictions": len(predictions)}


def write_predictions(
    path: Path, predictions: Sequence[Prediction], classes: Sequence[str]
) -> None:
    """Write ``slide_id, case_id, label, predicted, fold, prob_<class>…``, atomically."""
    columns = [f"prob_{name}" for name in classes]
    table: list[list[object]] = []
    for row in predictions:
        predicted = classes[int(np.argmax(row.probs))]
        fold = "" if row.fold is None else row.fold
        probs = [repr(p) for p in row.probs]  # repr comes back bit for bit
        table.append([row.slide_id, row.case_id, classes[row.label], predicted, fold, *probs])
    header = ["slide_id", "case_id", "label", "predicted", "fold", *columns]
    atomic.write_csv(path, header, table)


def read_predictions(path: Path, classes: Sequence[str]) -> list[Prediction]:
    """Read what `write_predictions` wrote."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Prediction(
                slide_id=row["slide_id"],
                case_id=row["case_id"],
                label=classes.index(row["label"]),
                probs=tuple(float(row[f"prob_{name}"]) for name in classes),
                fold=int(row["fold"]) if row["fold"] else None,
            )
            for row in csv.DictReader(stream)
        ]
