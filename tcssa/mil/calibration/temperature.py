"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): logits divided by one number.

It is computed from probabilities: softmax(log p / T) is softmax(logits / T). Grades, whose outputs
are not the logits of a softmax, are scaled by the same formula. The most probable class stays.

Departure: log T has a standard normal prior. A few validation slides that are all right would draw
T to 0 otherwise; among hundreds the prior does not count.
"""

from __future__ import annotations

import math

import numpy as np

from tcssa.statistics.metrics import Floats, Ints

_SMALLEST = 1e-300
_BOUND = 3.0
"""Largest size of log T, where the prior alone costs 4.5."""


def fit_temperature(labels: Ints, probs: Floats) -> float:
    """Return the temperature under which the true classes are most probable.

    Args:
        labels: Class indices, [S].
        probs: Probabilities, [S, C].
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]  # ships no types

    truth = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        log_probs = _log_scaled(probs, math.exp(log_temperature))
        return float(-log_probs[truth, labels].sum() + log_temperature**2 / 2)

    return math.exp(minimize_scalar(loss, bounds=(-_BOUND, _BOUND), method="bounded").x)


def scaled(probs: Floats, temperature: float | Floats) -> Floats:
    """Scale probabilities.

    Args:
        probs: Probabilities, [..., C].
        temperature: One number, or one a row, [..., 1]; 1 changes nothing.
    """
    result: Floats = np.exp(_log_scaled(probs, temperature))
    return result


def _log_scaled(probs: Floats, temperature: float | Floats) -> Floats:
    divided = np.log(np.maximum(probs, _SMALLEST)) / temperature
    divided -= divided.max(axis=-1, keepdims=True)
    result: Floats = divided - np.log(np.exp(divided).sum(axis=-1, keepdims=True))
    return result
