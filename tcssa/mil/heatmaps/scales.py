"""Scales of heat maps, from numbers to colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ScaleName = Literal["value", "percentile"]

CLIPPED = 99.0
"""Percentile of the sizes at which the colours of values end, so that one patch does not pale the
others."""


@dataclass(frozen=True)
class Scale:
    """A map of values to numbers from 0 to 1, which a colour map takes."""

    name: ScaleName
    signed: bool
    """Whether 0 is in the middle, as of evidence for and against."""
    limit: float
    """Value at which colours end."""
    reference: Floats
    """Values in rising order that percentiles count among."""

    @classmethod
    def of(cls, name: ScaleName, values: Floats, *, signed: bool) -> Self:
        """Make the scale of one slide's values, or of all slides' together.

        Args:
            name: ``value``, which ends at the 99th percentile of the sizes; or ``percentile``,
                the share of patches with a smaller value.
            values: The values, [N].
            signed: Whether values are for and against.
        """
        limit = float(np.percentile(np.abs(values), CLIPPED))
        return cls(name, signed, limit or 1.0, np.sort(values))

    def __call__(self, values: Floats) -> Floats:
        """Return numbers from 0 to 1."""
        if self.name == "percentile":
            low = np.searchsorted(self.reference, values, "left")
            high = np.searchsorted(self.reference, values, "right")
            return (low + high) / 2 / len(self.reference)
        low_end = -self.limit if self.signed else 0.0
        return np.clip((values - low_end) / (self.limit - low_end), 0, 1)

    @property
    def colours(self) -> str:
        """Name of the colour map."""
        return "RdBu_r" if self.signed and self.name == "value" else "turbo"

    @property
    def ticks(self) -> dict[float, str]:
        """Texts beside the colour bar, by number from 0 to 1."""
        if self.name == "percentile":
            return {at / 100: f"{at} %" for at in (0, 25, 50, 75, 100)}
        ends = f"{self.limit:.2g}"
        if self.signed:
            return {0.0: f"≤ −{ends}", 0.5: "0", 1.0: f"≥ {ends}"}
        return {0.0: "0", 1.0: f"≥ {ends}"}
