"""Conversion of resolutions to the magnifications that other tools use."""

from __future__ import annotations


def nominal_magnification(mpp: float) -> int:
    """Return the objective that TRIDENT assigns to a resolution in µm per pixel."""
    bounds = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
    return next((power for bound, power in bounds if mpp < bound), max(1, round(10 / mpp)))


def magnification(mpp: float) -> int | float:
    """Return ``10 / mpp`` to two decimals; an int if it is whole, as in TRIDENT's files."""
    return whole_if_it_is(round(10 / mpp, 2))


def whole_if_it_is(number: float) -> int | float:
    """Return an int for a whole number, and any other number as it is."""
    return int(number) if number == int(number) else number
