"""The slide while it is being drawn: how much of each stain lies at each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcssa.synthetic.fields import Field


@dataclass(eq=False)
class Canvas:
    """Stain amounts and nuclei of a slide in the making.

    Attributes:
        haematoxylin: Amount of haematoxylin, optical-density units, float32 [H, W].
        eosin: Amount of eosin, optical-density units, float32 [H, W].
        nuclei: Instance label of the nucleus at each pixel, 0 for none, int32 [H, W].
        count: Number of nuclei labelled so far.
    """

    haematoxylin: Field
    eosin: Field
    nuclei: NDArray[np.int32]
    count: int = 0

    @classmethod
    def blank(cls, shape: tuple[int, int]) -> Canvas:
        """Make an empty glass slide of ``shape`` rows and columns."""
        return cls(
            haematoxylin=np.zeros(shape, dtype=np.float32),
            eosin=np.zeros(shape, dtype=np.float32),
            nuclei=np.zeros(shape, dtype=np.int32),
        )

    def cover(self, coverage: Field, haematoxylin: Field | float, eosin: Field | float) -> None:
        """Blend new stain amounts over the canvas.

        Args:
            coverage: Share of the new amounts at each pixel, 0..1, float32 [H, W].
            haematoxylin: New amount of haematoxylin, optical-density units.
            eosin: New amount of eosin, optical-density units.
        """
        self.haematoxylin += coverage * (haematoxylin - self.haematoxylin)
        self.eosin += coverage * (eosin - self.eosin)
