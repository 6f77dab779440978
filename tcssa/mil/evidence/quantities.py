"""Quantities that evidence is for: one a class, or one a target, linear in the logits.

=================  =================================================================================
kind of label      quantity
=================  =================================================================================
classes            for each class its logit minus the mean of the other classes' logits: what a
                   constant added to all logits, which changes no probability, leaves as it is
grades, survival   the mean of the outputs: a higher grade, or a higher hazard in every span
numbers            the output, in SDs of the labels of the training part: a higher number
several targets    those of each target
=================  =================================================================================

A quantity of evidence that adds up adds up too. That of a class is drawn in comparison with slides
of the other classes (`tcssa.mil.evidence.reference`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.base import Row
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import Several
from tcssa.mil.tasks.ordinal import Ordinal

Floats = NDArray[np.float64]
_HIGHER = {"ordinal": "higher grade", "regression": "higher number", "survival": "higher risk"}


def quantities_of(task: MilTask) -> dict[str, Floats]:
    """Return the quantities of a task by name, each as factors of the outputs, [O]."""
    if isinstance(task, Several):
        return _of_several(task)
    count = len(task.outputs)
    if isinstance(task, Classes) and not isinstance(task, Ordinal):
        others = 1 / max(1, count - 1)
        contrast = (1 + others) * np.eye(count) - others
        return dict(zip(task.outputs, contrast, strict=True))
    return {_HIGHER.get(task.kind, task.kind): np.full(count, 1 / count)}


def others_of(task: MilTask, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return for each quantity of a class the slides of the other classes of its target.

    Args:
        task: The kind of label.
        rows: Slides with their labels.
    """
    if isinstance(task, Several):
        return {
            f"{target}: {name}": others
            for target, seen in task.views(rows).items()
            for name, others in others_of(task.tasks[target], seen).items()
        }
    if not isinstance(task, Classes) or isinstance(task, Ordinal):
        return {}
    return {
        name: [row for row in rows if row.label != index] for index, name in enumerate(task.classes)
    }


def leading(task: MilTask, logits: Floats) -> list[str]:
    """Name the quantities that a slide's prediction rests on: the predicted class, of each target.

    Args:
        task: The kind of label.
        logits: Outputs of the slide, [O].
    """
    if isinstance(task, Several):
        found, begin = [], 0
        for target, part in task.tasks.items():
            end = begin + len(part.outputs)
            found += [f"{target}: {name}" for name in leading(part, logits[begin:end])]
            begin = end
        return found
    names = list(quantities_of(task))
    return names if len(names) == 1 else [names[int(logits.argmax())]]


def _of_several(task: Several) -> dict[str, Floats]:
    found, begin, total = {}, 0, len(task.outputs)
    for target, part in task.tasks.items():
        end = begin + len(part.outputs)
        for name, factors in quantities_of(part).items():
            found[f"{target}: {name}"] = np.pad(factors, (begin, total - end))
        begin = end
    return found
