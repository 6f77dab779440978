"""Figures of decisions and of scaled probabilities, beside the metrics of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tcssa.mil.calibration.calibration import rows_by_target, targets_of
from tcssa.mil.calibration.record import Calibration, Calibrations
from tcssa.mil.calibration.temperature import scaled
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.prediction import Prediction
from tcssa.statistics.intervals import Score, interval
from tcssa.statistics.metrics import METRICS, Floats, Ints, bootstrap, resampled
from tcssa.statistics.rates import rates

_OF_PROBABILITIES = ("calibration_error", "brier")


def with_decisions(
    scores: dict[str, Any],
    task: MilTask,
    predictions: Sequence[Prediction],
    calibrations_of: Callable[[int | None], Calibrations],
    *,
    seed: int,
) -> dict[str, Any]:
    """Add sensitivity, specificity and calibration to the scores of predictions.

    ``by_class`` is of the predicted class; ``at_threshold`` of two classes at the threshold;
    ``unscaled`` and ``scaled`` are of probabilities before and after temperature scaling. The last
    three are absent where a model that predicted has no calibration.

    Args:
        scores: What `MilTask.score` returned.
        task: The kind of label.
        predictions: The predictions that were scored.
        calibrations_of: Returns the calibrations of a fold's model, of None those of the model
            that predicts new slides.
        seed: Seed of the bootstrap.
    """
    rows_of, found = rows_by_target(task, predictions), dict(scores)
    for name, target in targets_of(task).items():
        rows = rows_of[name]
        if rows:
            each = [calibrations_of(row.fold).get(name) for row in rows]
            added = _decision_scores(target.task, rows, each, seed)
            if isinstance(task, Classes):
                found |= added
            else:
                found["targets"] = {**found["targets"], name: found["targets"][name] | added}
    return found


def _decision_scores(
    task: Classes, rows: Sequence[Prediction], each: Sequence[Calibration | None], seed: int
) -> dict[str, Any]:
    scored = task.scored(rows)
    labels, probs = scored.truth, scored.values
    samples = resampled(scored.cases, seed)
    decided, num_classes = task.decide(probs), len(task.classes)
    shown = [1] if num_classes == 2 else range(num_classes)
    found: dict[str, Any] = {
        "by_class": {task.classes[c]: rates(labels, decided, c, samples) for c in shown}
    }
    known = [one for one in each if one is not None]
    if len(known) < len(each):
        return found
    if num_classes == 2:
        at = np.concatenate(
            [one.positive(row[None]) for one, row in zip(known, probs, strict=True)]
        )
        found["at_threshold"] = {
            "positive": task.classes[1],
            "rule": known[0].rule,
            **rates(labels, at, 1, samples),
        }
    temperatures = np.array([[one.temperature] for one in known])
    found["unscaled"] = _of_probabilities(labels, probs, samples)
    found["scaled"] = _of_probabilities(labels, scaled(probs, temperatures), samples)
    return found


def _of_probabilities(labels: Ints, probs: Floats, samples: Sequence[Ints]) -> dict[str, Score]:
    return {
        name: interval(
            METRICS[name](labels, probs), bootstrap(METRICS[name], labels, probs, samples)
        )
        for name in _OF_PROBABILITIES
    }
