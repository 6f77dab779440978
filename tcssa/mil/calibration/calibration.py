"""A model's threshold and temperature for each label it predicts, from its validation slides.

They are read beside the predicted class, and never change it: that is the most probable class, or
the median grade, of the probabilities as the model gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tcssa.mil.calibration.record import LABEL, Calibration
from tcssa.mil.calibration.rule import ThresholdRule
from tcssa.mil.calibration.temperature import fit_temperature
from tcssa.mil.calibration.threshold import MIDDLE, choose_threshold
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import Several
from tcssa.mil.tasks.prediction import Prediction


class Target(NamedTuple):
    """A label of classes or grades, alone or one of several."""

    task: Classes
    part: slice
    """Its probabilities among all of the slide."""


def targets_of(task: MilTask) -> dict[str, Target]:
    """Return the labels of classes or grades by the name of the target."""
    if isinstance(task, Classes):
        return {LABEL: Target(task, slice(None))}
    if isinstance(task, Several):
        return {
            name: Target(own, part)
            for name, part in task.parts()
            if isinstance(own := task.tasks[name], Classes)
        }
    return {}


def rows_by_target(task: MilTask, rows: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Return the predictions of each target, as if it were the only label.

    Args:
        task: The kind of label.
        rows: Predictions of slides.
    """
    return {name or LABEL: own for name, own in task.views(rows).items()}


def calibrate(
    task: MilTask, rows: Sequence[Prediction], rule: str, warn: Callable[[str], None]
) -> dict[str, Calibration]:
    """Choose thresholds and fit temperatures.

    Args:
        task: The kind of label.
        rows: Predictions of validation slides.
        rule: How the threshold of two classes is chosen; see `ThresholdRule`.
        warn: Told of a target whose slides lack a class, so that nothing could be chosen.
    """
    of_target = rows_by_target(task, rows)
    found = {}
    for name, target in targets_of(task).items():
        if of_target[name]:
            found[name] = _calibrate(name, target.task, of_target[name], rule, warn)
    return found


def _calibrate(
    name: str, task: Classes, rows: Sequence[Prediction], rule: str, warn: Callable[[str], None]
) -> Calibration:
    scored = task.scored(rows)
    temperature = fit_temperature(scored.truth, scored.values)
    if len(task.classes) != 2:
        return Calibration(temperature=temperature, num_slides=len(rows))
    is_positive = scored.truth == 1
    if len(np.unique(is_positive)) == 2:
        parsed = ThresholdRule.parse(rule)
        threshold = choose_threshold(is_positive, scored.values[:, 1], parsed)
    else:
        threshold = ThresholdRule.parse(rule).fixed or MIDDLE
        of_target = "" if name == LABEL else f" of target {name}"
        warn(f"its validation slides lack a class{of_target}: the threshold is {threshold:g}")
    return Calibration(
        temperature=temperature, threshold=threshold, rule=rule, num_slides=len(rows)
    )
