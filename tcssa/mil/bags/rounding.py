"""Rounding of features to float16, with the largest change that it makes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rounded(NamedTuple):
    """Features of a slide as float16, if they fit."""

    features: NDArray[np.float16]
    """[N, D]; infinite where a value does not fit."""
    largest_change: float
    """Largest absolute change of a value by rounding; 0 if the features were float16 already."""
    too_large_row: int | None
    """The first row with a value beyond ±65,504, the range of float16; None if all fit."""


def to_half(features: NDArray[Any]) -> Rounded:
    """Round features [N, D], all of them finite, to float16."""
    if features.dtype == np.float16:
        return Rounded(features, 0.0, None)
    with np.errstate(over="ignore"):
        half = features.astype(np.float16)
    fits = np.isfinite(half)
    if not fits.all():
        return Rounded(half, 0.0, int(np.argmin(fits.all(axis=1))))
    change = np.abs(half - features).max() if half.size else 0.0
    return Rounded(half, float(change), None)
