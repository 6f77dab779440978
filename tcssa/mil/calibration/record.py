"""A model's threshold and temperature, as runs and artefacts keep them. Imports nothing slow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from tcssa.statistics.metrics import Floats, Ints

LABEL = "label"
"""Stands for the target where there is only one."""


class Calibration(BaseModel):
    """Holds what the validation slides say of one model's probabilities of one label."""

    model_config = ConfigDict(frozen=True)

    temperature: float = Field(gt=0)
    """Its logits divided by this fit the labels best."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Probability from which a slide counts as of the second class; None if there are more."""
    rule: str | None = None
    """How the threshold was chosen, as the user writes it."""
    num_slides: int
    """Validation slides that this rests on."""

    def positive(self, probs: Floats) -> Ints:
        """Return 1 for each row of probabilities [S, 2] that reaches the threshold, else 0."""
        assert self.threshold is not None  # of two classes
        return (probs[:, 1] >= self.threshold).astype("int64")


Calibrations = Mapping[str, Calibration]
"""By the name of the target, `LABEL` where there is only one; empty without classes."""
