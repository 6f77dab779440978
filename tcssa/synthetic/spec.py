"""The specification of a synthetic slide, and the slide drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

MPP = 0.5
"""Micrometres per level-0 pixel of every synthetic slide (about a 20x scan)."""

GLAND_FORMING = "gland-forming"
SOLID_PLEOMORPHIC = "solid-pleomorphic"
LABELS = (GLAND_FORMING, SOLID_PLEOMORPHIC)

_SLIDE_STREAM = 0
_CASE_STREAM = 1


@dataclass(frozen=True)
class SlideSpec:
    """One slide of the cohort; equal specs draw identical pixels.

    Attributes:
        index: Position of the slide in its cohort.
        label: Tumour class, one of ``LABELS``.
        case: Number of the case (patient) the slide comes from. Slides of one case share
            their stain batch and the grade of their tumour.
        seed: Seed of the cohort.
        width: Width in level-0 pixels of 0.5 micrometres.
        height: Height in level-0 pixels of 0.5 micrometres.
    """

    index: int
    label: str
    case: int
    seed: int = 0
    width: int = 1536
    height: int = 1216

    def __post_init__(self) -> None:
        """Refuse labels that no tumour is drawn for and slides too small to hold tissue."""
        if self.label not in LABELS:
            raise ValueError(f"unknown label {self.label!r}: expected one of {LABELS}")
        if min(self.width, self.height) < 256:
            raise ValueError(f"slide of {self.width} x {self.height} px: 256 px is the least")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the slide, in level-0 pixels."""
        return self.height, self.width

    @property
    def shape_um(self) -> tuple[int, int]:
        """Rows and columns of the slide, in whole micrometres."""
        return ceil(self.height * MPP), ceil(self.width * MPP)

    def slide_rng(self) -> np.random.Generator:
        """Make the generator for everything that is specific to this slide."""
        return np.random.default_rng([self.seed, _SLIDE_STREAM, self.index])

    def case_rng(self) -> np.random.Generator:
        """Make the generator for everything that the slides of a case have in common."""
        return np.random.default_rng([self.seed, _CASE_STREAM, self.case])


@dataclass(frozen=True, eq=False)
class DrawnSlide:
    """A drawn slide and its ground truth.

    Attributes:
        pixels: RGB image, uint8 [H, W, 3].
        tissue: Where there is tissue (holes of fat and lumens included), bool [H, W].
        tumour: Where the tumour lies, its own stroma included, bool [H, W].
        nuclei: Instance label of every drawn nucleus, 0 for none, int32 [H, W].
    """

    pixels: NDArray[np.uint8]
    tissue: NDArray[np.bool_]
    tumour: NDArray[np.bool_]
    nuclei: NDArray[np.int32]
