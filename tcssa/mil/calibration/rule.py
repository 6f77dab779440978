"""The rule by which a threshold is chosen. Imports nothing slow, as the settings check it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

YOUDEN = "youden"
_SENSITIVITY = "sensitivity="


@dataclass(frozen=True)
class ThresholdRule:
    """A threshold that is given, or how it is chosen; by Youden's index if neither is set."""

    fixed: float | None = None
    """The threshold itself, a probability."""
    sensitivity: float | None = None
    """The share of positive slides that are to be found."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rule as the user writes it.

        Raises:
            ValueError: It is neither ``youden``, a probability, nor ``sensitivity=`` a share.
        """
        if text == YOUDEN:
            return cls()
        is_wanted = text.startswith(_SENSITIVITY)
        try:
            value = float(text.removeprefix(_SENSITIVITY))
        except ValueError:
            value = math.nan
        if is_wanted and 0 < value <= 1:
            return cls(sensitivity=value)
        if not is_wanted and 0 < value < 1:
            return cls(fixed=value)
        raise ValueError(
            f"a threshold is {YOUDEN}, a probability such as 0.5, or {_SENSITIVITY}0.95, "
            f"not {text!r:.40}"
        )
