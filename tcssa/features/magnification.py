"""Resolutions as the magnifications that other tools count in."""

from __future__ import annotations


def nominal_magnification(mpp: float) -> int:
    """The objective that a resolution passes for, as TRIDENT counts."""
    bounds = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
    return next((power for bound, power in bounds if mpp < bound), max(1, round(10 / mpp)))


def magnification(mpp: float) -> int | float:
    """``10 / mpp`` to two decimals; an int where it is whole, as in TRIDENT's files."""
    power = round(10 / mpp, 2)
    return int(power) if power == int(power) else power
