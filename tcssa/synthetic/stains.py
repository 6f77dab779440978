"""The colours of a slide from its stain amounts: one staining batch and scanner per look."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.synthetic.fields import Field

_HAEMATOXYLIN = (0.61, 0.70, 0.34)
_EOSIN = (0.17, 0.82, 0.49)


@dataclass(frozen=True)
class StainLook:
    """Colours of one slide.

    Attributes:
        haematoxylin: Optical density of unit haematoxylin in red, green and blue.
        eosin: Optical density of unit eosin in red, green and blue.
        glass: Brightness of empty glass in red, green and blue, 0..255.
        defocus: Sigma of the scanner's blur, in level-0 pixels.
    """

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    glass: tuple[float, float, float]
    defocus: float


def draw_look(case_rng: np.random.Generator, slide_rng: np.random.Generator) -> StainLook:
    """Draw the look of a slide: its case's staining batch, with a small variation by slide.

    Args:
        case_rng: Generator shared by the slides of a case.
        slide_rng: Generator of the slide.

    Returns:
        The look; it never depends on the slide's class.
    """
    glass = 243.0 + case_rng.uniform(-6, 4) + case_rng.normal(0.0, 0.9, size=3)
    return StainLook(
        haematoxylin=_dye(_HAEMATOXYLIN, case_rng, slide_rng),
        eosin=_dye(_EOSIN, case_rng, slide_rng),
        glass=_triple(np.minimum(glass, 252.0)),
        defocus=float(slide_rng.uniform(0.5, 1.15)),
    )


def _dye(
    density: tuple[float, float, float],
    case_rng: np.random.Generator,
    slide_rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Shift the hue and the strength of a dye by case, and slightly by slide."""
    hue = np.array(density) + case_rng.normal(0.0, 0.032, size=3)
    hue += slide_rng.normal(0.0, 0.012, size=3)
    strength = case_rng.uniform(0.82, 1.25) * slide_rng.uniform(0.95, 1.05)
    hue = np.maximum(hue, 0.02)
    return _triple(strength * hue / np.linalg.norm(hue))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def render(
    haematoxylin: Field, eosin: Field, look: StainLook, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Render the stains as the scanner sees them in transmitted light (Beer-Lambert).

    Args:
        haematoxylin: Amount of haematoxylin, float32 [H, W].
        eosin: Amount of eosin, float32 [H, W].
        look: Colours of the dyes and of the glass.
        rng: Source of the scanner's noise.

    Returns:
        RGB pixels, uint8 [H, W, 3].
    """
    planes, light = [], np.empty_like(haematoxylin)
    # One grain for all three channels: chroma noise would be lost to the JPEG anyway.
    grain = np.float32(1.2) * rng.standard_normal(haematoxylin.shape, dtype=np.float32)
    for dye_h, dye_e, glass in zip(look.haematoxylin, look.eosin, look.glass, strict=True):
        cv2.addWeighted(haematoxylin, -dye_h, eosin, -dye_e, 0.0, light)
        cv2.GaussianBlur(cv2.exp(light, light), (0, 0), look.defocus, light)
        planes.append(cv2.convertScaleAbs(cv2.scaleAdd(light, glass, grain, light)))
    return np.asarray(cv2.merge(planes), dtype=np.uint8)
