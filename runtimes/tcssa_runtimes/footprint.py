"""Where slots lie on the slide, from the routing that a graph returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def footprint(
    assignments: NDArray[np.int64],
    weights: NDArray[np.float32],
    positions: NDArray[np.float64],
    num_slots: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean and standard deviation of the positions of each slot's patches.

    In float64: on a slide 100,000 pixels wide the squares reach 1e10.

    Args:
        assignments: Slots of each patch, [N, T], none of them -1.
        weights: Their routing weights, [N, T].
        positions: Where the patches are, (x, y), [N, 2].
        num_slots: K.

    Returns:
        Centroids and spread, [K, 2] each; NaN for a slot without patches.
    """
    slots = assignments.ravel()
    weight = weights.ravel().astype(np.float64)
    mass = np.bincount(slots, weight, num_slots)
    mass[mass == 0] = np.nan

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        spread_out = np.repeat(values, assignments.shape[1], axis=0)
        sums = [np.bincount(slots, weight * column, num_slots) for column in spread_out.T]
        return np.stack(sums, axis=1) / mass[:, None]

    centroids = mean(positions)
    variance = mean(positions**2) - centroids**2
    return centroids, np.sqrt(np.maximum(variance, 0))
