"""Weighted moments of patch coordinates, which tell where slots lie on the slide.

Moments are sums over patches, so they add up over chunks, parts of a slide and slots that fold into
one another, as the slots' own sums do. All in float64: on a slide 100,000 pixels wide the squares
of coordinates reach 1e10.

A model with places (``--spatial moments``) sees them as a vector per slot (`SlotMoments.vectors`):

- the slot's centroid about the mass centre of the slide, and its spread;
- Fourier moments φ_k(ω) = Σ_j w_jk exp(i ω·(r_j - r̄)) / Σ_j w_jk for a few waves ω, r̄ the mass
  centre: near 1 where the slot's patches lie together, on the scale of the wave, near 0 where they
  are scattered; and per wavelength the mean of |φ_k| over the directions, which no shift of the
  slot and no turn of the slide by 45° changes much.

All of it is about the slide's own mass centre, so nothing depends on where the scanner began, nor
on whether a patch's corner or its centre is given.

Shapes: n patches, K slots, T = top_k, W waves, M numbers of a vector. Arrays are NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, pi
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tcssa.budgets import fold
from tcssa.errors import ShapeError

Floats = NDArray[np.float64]

WAVELENGTHS_UM = (1000.0, 4000.0, 16000.0)
"""From a few patches to most of a section."""
_DIRECTIONS = 4
"""Directions over half a turn; a wave and its opposite tell the same."""
UNIT_UM = 4000.0
"""Unit of centroids and spreads, so that they are near 1."""

_ANGLES = np.arange(_DIRECTIONS) * pi / _DIRECTIONS
WAVES: Floats = np.concatenate(
    [2 * pi / length * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1) for length in WAVELENGTHS_UM]
)
"""ω of each wave, [W, 2], per µm; those of one wavelength stand together."""
NUM_WAVES = len(WAVES)
VECTOR_LENGTH = 4 + 2 * NUM_WAVES + len(WAVELENGTHS_UM)
"""M."""


NEEDS_PLACES = "a model with places needs coordinates, and their size in µm"
"""The error of a model with places that is not told where patches lie."""


def require_scale(mpp: float) -> None:
    """Require that microns per unit of coordinates are a size.

    Raises:
        ShapeError: The value is not a finite number above 0.
    """
    if not (isfinite(mpp) and mpp > 0):
        raise ShapeError(f"microns per unit of coords must be above 0, got {mpp}")


def require_places(coords: Floats) -> None:
    """Require that all coordinates are finite.

    Raises:
        ShapeError: A coordinate is NaN or infinite; the error names the first such row.
    """
    bad = ~np.isfinite(coords).all(axis=-1)
    if bad.any():
        raise ShapeError(f"coords hold a NaN or an infinity, first in row {int(np.argmax(bad))}")


@dataclass(frozen=True, eq=False)
class SlotMoments:
    """Weighted moments of the coordinates of each slot's patches.

    Weights are P̃ of the router, with the salience where the model has one.
    """

    mass: Floats
    """Σ w, [K]."""
    sums: Floats
    """Σ w (x, y), [K, 2], in the unit of the coordinates."""
    squares: Floats
    """Σ w (x², y²), [K, 2]."""
    waves: NDArray[np.complex128] | None = None
    """Σ w exp(i ω·r), [K, W]; None where the unit of the coordinates is not known in µm."""
    mpp: float | None = None
    """Microns per unit of the coordinates, where known."""

    @classmethod
    def empty(cls, num_slots: int) -> Self:
        """Return the moments of no patches, the neutral element of `merge`."""
        return cls(np.zeros(num_slots), np.zeros((num_slots, 2)), np.zeros((num_slots, 2)))

    @classmethod
    def of(
        cls,
        assignments: NDArray[np.int64],
        weights: NDArray[np.float32],
        positions: NDArray[np.generic],
        num_slots: int,
        mpp: float | None = None,
    ) -> Self:
        """Sum up the moments of patches.

        Args:
            assignments: Slots of each patch, [n, T], none of them -1.
            weights: Weight of each patch in its slots, [n, T].
            positions: Positions of the patches, (x, y), [n, 2].
            num_slots: K.
            mpp: Microns per unit of the positions; waves are summed up only if it is known.

        Raises:
            ShapeError: Positions are not [n, 2]; or mpp is known and no size, or a position is not
                finite.
        """
        if positions.shape != (len(assignments), 2):
            raise ShapeError(f"coords must be [{len(assignments)}, 2], got {list(positions.shape)}")
        slots, top_k = assignments.ravel(), assignments.shape[1]
        weight = weights.ravel().astype(np.float64)
        xy = positions.astype(np.float64)

        def summed(values: Floats) -> Floats:
            spread_out = np.repeat(values, top_k, axis=0)
            columns = [np.bincount(slots, weight * each, num_slots) for each in spread_out.T]
            return np.stack(columns, axis=1)

        waves = None
        if mpp is not None:
            require_scale(mpp)
            require_places(xy)
            phases = xy @ (WAVES.T * mpp)
            waves = summed(np.cos(phases)) + 1j * summed(np.sin(phases))
        mass = summed(np.ones((len(xy), 1)))[:, 0]
        return cls(mass, summed(xy), summed(xy**2), waves, mpp)

    @classmethod
    def restored(
        cls,
        mass: Floats,
        centroids: Floats,
        spread: Floats,
        waves: NDArray[np.complex128] | None = None,
        mpp: float | None = None,
    ) -> Self:
        """Recover the moments that centroids, spreads and mean waves were made from.

        Args:
            mass: Σ w of each slot, [K].
            centroids: Weighted mean positions, [K, 2]; of any value for an empty slot, as are the
                others.
            spread: Weighted standard deviations, [K, 2].
            waves: φ of each slot before it is turned about the mass centre, [K, W].
            mpp: Microns per unit of the centroids.
        """
        weight = np.where(mass > 0, mass, 0.0)[:, None]
        means = np.where(weight > 0, centroids, 0)
        squares = np.where(weight > 0, spread**2 + centroids**2, 0)
        if waves is not None:
            waves = weight * np.where(weight > 0, waves, 0)
        return cls(weight[:, 0], weight * means, weight * squares, waves, mpp)

    def merge(self, other: SlotMoments) -> SlotMoments:
        """Add the moments of other patches of the slide.

        Raises:
            ShapeError: The coordinates of the two are in units of different size.
        """
        if not self.mass.any():
            return other
        if not other.mass.any():
            return self
        if self.mpp != other.mpp:
            raise ShapeError(
                f"coordinates of {self.mpp} and of {other.mpp} µm a unit do not add up"
            )
        waves = None
        if self.waves is not None and other.waves is not None:
            waves = self.waves + other.waves
        return SlotMoments(
            self.mass + other.mass,
            self.sums + other.sums,
            self.squares + other.squares,
            waves,
            self.mpp,
        )

    def fold(self, budget: int) -> SlotMoments:
        """Add up the moments of slots that fold into one another (`tcssa.budgets`)."""
        return SlotMoments(
            fold(self.mass, budget),
            fold(self.sums, budget),
            fold(self.squares, budget),
            None if self.waves is None else fold(self.waves, budget),
            self.mpp,
        )

    def centroids(self) -> Floats:
        """Return the weighted mean positions, [K, 2]; NaN for a slot without patches."""
        return self.sums / self._mass_or_nan()

    def spread(self) -> Floats:
        """Return the weighted standard deviations, [K, 2]; NaN for a slot without patches."""
        variance = self.squares / self._mass_or_nan() - self.centroids() ** 2
        return np.sqrt(np.maximum(variance, 0))

    def mean_waves(self) -> NDArray[np.complex128] | None:
        """Return Σ w exp(i ω·r) / Σ w, [K, W], about no centre; NaN for a slot without patches."""
        if self.waves is None:
            return None
        mass = self.mass[:, None]  # a complex number divided by NaN warns
        return np.where(mass > 0, self.waves / np.where(mass > 0, mass, 1), np.nan)

    def vectors(self) -> NDArray[np.float32]:
        """Return the vector that a model with places sees of each slot, [K, M]; 0 if it is empty.

        Raises:
            ShapeError: Patches came without coordinates in µm.
        """
        if not self.mass.any():
            return np.zeros((len(self.mass), VECTOR_LENGTH), np.float32)
        mean_waves = self.mean_waves()
        if mean_waves is None or self.mpp is None:
            raise ShapeError(NEEDS_PLACES)
        centre = self.sums.sum(axis=0) / self.mass.sum()
        turned = np.nan_to_num(mean_waves) * np.exp(-1j * (WAVES @ centre) * self.mpp)
        scale = self.mpp / UNIT_UM
        together = np.abs(turned).reshape(len(turned), -1, _DIRECTIONS).mean(axis=2)
        parts = (
            (self.centroids() - centre) * scale, self.spread() * scale,
            turned.real, turned.imag, together,
        )  # fmt: skip
        vectors = np.concatenate(parts, axis=1).astype(np.float32)
        vectors[self.mass <= 0] = 0
        return vectors

    def _mass_or_nan(self) -> Floats:
        return np.where(self.mass > 0, self.mass, np.nan)[:, None]
