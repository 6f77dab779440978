"""Learning rates: the schedule over the steps, and parameters that learn at another pace."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.methods import BagClassifier
from tcssa.training import rise_and_fall

WARMUP = 0.1
"""Share of all steps in which the learning rate rises to its peak."""


def paced(model: BagClassifier, salience_pace: float) -> list[dict[str, Any]]:
    """Sort the parameters of a model by pace into parameter groups of an optimiser.

    Salience begins at 1 for all patches. At a quicker pace it tells very few of them from many
    before the rest of the model has learnt the training slides by heart; see docs/compressor.md.

    Args:
        model: A model of any method.
        salience_pace: Factor of the learning rate for the salience of patches.
    """
    by_pace: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        is_salience = isinstance(model, SlideClassifier) and "router.salience." in name
        by_pace.setdefault(salience_pace if is_salience else 1.0, []).append(parameter)
    return [{"params": params, "pace": pace} for pace, params in sorted(by_pace.items())]


def set_rates(optimiser: torch.optim.Optimizer, peak: float, done: float) -> None:
    """Set the learning rates of a step: linear warm-up times a cosine decay to zero.

    Args:
        optimiser: An optimiser of the groups that `paced` made.
        peak: The largest learning rate, at pace 1.
        done: Share of all steps that are done, 0 to 1.
    """
    rise, fall = rise_and_fall(done + 1e-3, WARMUP, done)
    for group in optimiser.param_groups:
        group["lr"] = peak * group["pace"] * rise * fall
