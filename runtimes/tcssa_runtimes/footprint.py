"""Where slots lie on the slide, from the routing that a graph returns.

In float64: on a slide 100,000 pixels wide the squares reach 1e10.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import fold

Floats = NDArray[np.float64]


class SlotMoments:
    """Weighted moments of the positions of each slot's patches; they add up over chunks.

    Args:
        num_slots: K.
    """

    def __init__(self, num_slots: int) -> None:
        self._mass = np.zeros(num_slots)
        self._sums = np.zeros((num_slots, 2))
        self._squares = np.zeros((num_slots, 2))

    @classmethod
    def of(cls, mass: Floats, centroids: Floats, spread: Floats) -> Self:
        """Recover the moments that centroids and spread [K, 2] were made from."""
        moments = cls(len(mass))
        weight = np.where(mass > 0, mass, 0)[:, None]
        moments._mass = weight[:, 0]
        moments._sums = weight * np.where(weight > 0, centroids, 0)
        moments._squares = weight * np.where(weight > 0, spread**2 + centroids**2, 0)
        return moments

    def merge(self, other: SlotMoments) -> None:
        """Add the moments of other patches."""
        self._mass += other._mass
        self._sums += other._sums
        self._squares += other._squares

    def fold(self, budget: int) -> SlotMoments:
        """Add up the moments of slots that fold into one another (`tcssa.budgets`)."""
        folded = SlotMoments(budget)
        for name in ("_mass", "_sums", "_squares"):
            setattr(folded, name, fold(getattr(self, name), budget))
        return folded

    def add(
        self, assignments: NDArray[np.int64], weights: NDArray[np.float32], positions: Floats
    ) -> None:
        """Add patches.

        Args:
            assignments: Slots of each patch, [n, T], none of them -1.
            weights: Their routing weights, [n, T].
            positions: Where the patches are, (x, y), [n, 2].
        """
        slots, num_slots = assignments.ravel(), len(self._mass)
        weight = weights.ravel().astype(np.float64)
        self._mass += np.bincount(slots, weight, num_slots)
        for sums, values in ((self._sums, positions), (self._squares, positions**2)):
            spread_out = np.repeat(values, assignments.shape[1], axis=0)
            for axis, column in enumerate(spread_out.T):
                sums[:, axis] += np.bincount(slots, weight * column, num_slots)

    def centroids(self) -> Floats:
        """Weighted mean positions, [K, 2]; NaN for a slot without patches."""
        return self._sums / self._mass_or_nan()

    def spread(self) -> Floats:
        """Weighted standard deviations, [K, 2]; NaN for a slot without patches."""
        variance = self._squares / self._mass_or_nan() - self.centroids() ** 2
        return np.sqrt(np.maximum(variance, 0))

    def _mass_or_nan(self) -> Floats:
        return np.where(self._mass > 0, self._mass, np.nan)[:, None]
