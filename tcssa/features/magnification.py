"""Conversion of resolutions to the magnifications that other tools use."""

from __future__ import annotations


def nominal_magnification(mpp: float) -> int:
    """Return the objective that TRIDENT assigns to a resolution in µm per pixel."""
    bounds = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
    return next((power for bound, power in bounds if mpp < bound), max(1, round(10 / mpp)))


def magnification(mpp: float) -> int | float:
    """Return ``10 / mpp`` to two decimals; an int if it is whole, as in TRIDENT's files."""
    power = round(10 / mpp, 2)
    return int(power) if power == int(power) else power
