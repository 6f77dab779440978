"""The slide while it is being drawn, at one micrometre a pixel; nuclei are pressed in later."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.synthetic.fields import Field
from tcssa.synthetic.nuclei import PIXELS_PER_UM, NucleusKind, Planted
from tcssa.synthetic.placement import Points


@dataclass(eq=False)
class Canvas:
    """Stain amounts and nuclei of a slide in the making.

    Everything but nuclei is drawn at one micrometre a pixel, a quarter of the slide's pixels: no
    other structure has finer detail. Lengths are micrometres.

    Attributes:
        haematoxylin: Amount of haematoxylin, optical-density units, float32 [H, W].
        eosin: Amount of eosin, optical-density units, float32 [H, W].
        planted: Nuclei to press in, in order.
    """

    haematoxylin: Field
    eosin: Field
    planted: list[Planted] = field(default_factory=list)

    @classmethod
    def blank(cls, shape: tuple[int, int]) -> Canvas:
        """Make an empty glass slide of ``shape`` rows and columns."""
        return cls(np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32))

    def cover(self, coverage: Field, haematoxylin: Field | float, eosin: Field | float) -> None:
        """Blend new stain amounts over the canvas.

        Args:
            coverage: Share of the new amounts at each pixel, 0..1, float32 [H, W].
            haematoxylin: New amount of haematoxylin, optical-density units.
            eosin: New amount of eosin, optical-density units.
        """
        self.haematoxylin += coverage * (haematoxylin - self.haematoxylin)
        self.eosin += coverage * (eosin - self.eosin)

    def plant(
        self, kind: NucleusKind, places: Points, angles: NDArray[np.float32] | None = None
    ) -> None:
        """Set nuclei, which lie over everything that is painted.

        Args:
            kind: Appearance of the nuclei.
            places: Their centres as (x, y), float32 [N, 2].
            angles: Directions of their long axes, in radians, float32 [N]; random if None.
        """
        self.planted.append(Planted(kind, places, angles))


def grown(field: Field, shape: tuple[int, int]) -> Field:
    """Grow a field from micrometres to level-0 pixels.

    Args:
        field: Field at one micrometre a pixel.
        shape: Rows and columns of the slide, in level-0 pixels.
    """
    size = (field.shape[1] * PIXELS_PER_UM, field.shape[0] * PIXELS_PER_UM)
    whole = cv2.resize(field, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(whole[: shape[0], : shape[1]], dtype=np.float32)
