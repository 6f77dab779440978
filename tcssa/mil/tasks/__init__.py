"""Kinds of label: classes, grades in order, a number, survival, or several labels at once.

A task defines how a row of the label table is read, how many outputs a method has and what they
mean, the loss that they are trained with, the metrics of predictions, and how folds are stratified.
Everything else (methods, training loop, folds and run directory) is the same for every kind.
"""

from tcssa.mil.tasks.base import MilTask, Stratum
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import Several
from tcssa.mil.tasks.ordinal import Ordinal
from tcssa.mil.tasks.prediction import Truth
from tcssa.mil.tasks.reading import read_task
from tcssa.mil.tasks.regression import Regression
from tcssa.mil.tasks.serialization import task_from_facts
from tcssa.mil.tasks.survival import Survival

__all__ = [
    "Classes",
    "MilTask",
    "Ordinal",
    "Regression",
    "Several",
    "Stratum",
    "Survival",
    "Truth",
    "read_task",
    "task_from_facts",
]
