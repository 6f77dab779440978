"""Nuclei: the appearance of each kind, and stamping many of them on a slide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcssa.synthetic.fields import Field, Mask, blurred, standardised
from tcssa.synthetic.placement import Points

PIXELS_PER_UM = 2
"""Level-0 pixels along a micrometre."""
_TEXTURE_SIDE = 512
_ANGLES = 12
_SHAPES = 16  # drawn for each of the angles


@dataclass(frozen=True)
class NucleusKind:
    """Appearance of one kind of nucleus.

    Attributes:
        radius: Radius of a disc of the mean area, in micrometres.
        spread: Standard deviation of the logarithm of the radius.
        elongation: Mean ratio of length to width.
        irregularity: Height of the dents and bulges of the outline, in radii.
        darkness: Mean amount of haematoxylin, optical-density units.
        clumping: Height of the chromatin's texture, as a share of the darkness.
        grain: Size of the chromatin's clumps, in level-0 pixels.
        rim: Extra darkness of the nuclear membrane, as a share of the darkness.
        nucleoli: Chance of a prominent nucleolus.
    """

    radius: float
    spread: float
    elongation: float
    irregularity: float
    darkness: float
    clumping: float
    grain: float
    rim: float
    nucleoli: float = 0.0


LYMPHOCYTE = NucleusKind(2.8, 0.08, 1.1, 0.03, 1.45, 0.22, 1.5, 0.1)
FIBROBLAST = NucleusKind(2.8, 0.18, 4.2, 0.07, 0.95, 0.15, 1.2, 0.1)
ENDOTHELIUM = NucleusKind(2.5, 0.15, 3.0, 0.05, 1.05, 0.15, 1.2, 0.1)
DUCT_EPITHELIUM = NucleusKind(3.4, 0.1, 1.35, 0.04, 1.0, 0.14, 1.3, 0.15)


class Planted(NamedTuple):
    """Nuclei of one kind in their places."""

    kind: NucleusKind
    places: Points
    """Their centres as (x, y), in micrometres, float32 [N, 2]."""
    angles: NDArray[np.float32] | None
    """Directions of their long axes, in radians, float32 [N]; random if None."""


def press_nuclei(
    haematoxylin: Field, eosin: Field, planted: Iterable[Planted], rng: np.random.Generator
) -> NDArray[np.int32]:
    """Paste nuclei into a slide, later ones over earlier ones.

    Args:
        haematoxylin: Amount of haematoxylin, in level-0 pixels, float32 [H, W]; changed.
        eosin: Amount of eosin, likewise.
        planted: The nuclei; those too near the border of the slide to fit are left out.
        rng: Source of randomness.

    Returns:
        Instance label of the nucleus at each pixel, 0 for none, int32 [H, W].
    """
    nuclei = np.zeros(haematoxylin.shape, dtype=np.int32)
    height, width = haematoxylin.shape
    count = 0
    for kind, places, angles in planted:
        if angles is None:
            angles = rng.uniform(0.0, np.pi, size=len(places)).astype(np.float32)
        crops = _crops(kind)
        chosen = np.rint(angles / np.pi * _ANGLES).astype(np.intp) % _ANGLES * _SHAPES
        chosen += rng.integers(_SHAPES, size=len(places))
        centres = np.rint(places * PIXELS_PER_UM).astype(np.intp).tolist()
        for number, (x, y) in zip(chosen, centres, strict=True):
            coverage, amount, inside = crops[number]
            half = len(coverage) // 2
            if x < half or y < half or x + half >= width or y + half >= height:
                continue
            count += 1
            window = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
            haematoxylin[window] += coverage * (amount - haematoxylin[window])
            eosin[window] *= 1 - np.float32(0.4) * coverage
            nuclei[window][inside] = count
    return nuclei


@lru_cache(maxsize=16)
def _crops(kind: NucleusKind) -> list[tuple[Field, Field, Mask]]:
    """Draw nuclei of a kind once, to be pasted: of every angle, as many shapes.

    They are the same in every slide, which arranges them in its own way: coverage, haematoxylin
    and the pixels that the nucleus claims, each a square [S, S].
    """
    rng = np.random.default_rng(0)
    texture = standardised(
        blurred(rng.standard_normal((_TEXTURE_SIDE, _TEXTURE_SIDE), dtype=np.float32), kind.grain)
    )
    angles = np.repeat(np.arange(_ANGLES, dtype=np.float32) * (np.pi / _ANGLES), _SHAPES)
    crops = []
    stamps = _draw_stamps(rng, kind, texture, angles.astype(np.float32))
    for coverage, amount in zip(*stamps, strict=True):
        middle = len(coverage) // 2
        half = int(np.abs(np.argwhere(coverage) - middle).max())
        square = (slice(middle - half, middle + half + 1),) * 2
        crops.append((coverage[square], amount[square], coverage[square] > 0.5))
    return crops


def _draw_stamps(
    rng: np.random.Generator, kind: NucleusKind, texture: Field, angles: NDArray[np.float32]
) -> tuple[Field, Field]:
    """Draw squares that hold one nucleus each: coverage and haematoxylin, float32 [N, S, S]."""
    number = len(angles)

    def each(values: NDArray[np.float64]) -> Field:
        return values.astype(np.float32).reshape(number, 1, 1)

    spread = np.exp(np.clip(rng.normal(0.0, 1.0, number), -2, 2) * kind.spread)
    radius = each(kind.radius * PIXELS_PER_UM * spread)
    stretch = each(np.sqrt(1 + (kind.elongation - 1) * rng.uniform(0.4, 1.6, number)))
    half = int(np.ceil((radius * stretch).max() * (1 + 2 * kind.irregularity))) + 3
    axis = np.arange(-half, half + 1, dtype=np.float32)
    x, y = axis[None, None, :], axis[None, :, None]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    along = (x * cos + y * sin) / (radius * stretch)
    across = (y * cos - x * sin) / (radius / stretch)
    reach = np.sqrt(along**2 + across**2) + np.float32(1e-3)

    outline = np.ones_like(reach)
    unit = (along + 1j * across) / reach
    turned = unit
    for order in range(2, 6):
        turned = turned * unit
        height = each(rng.normal(0.0, kind.irregularity / (order - 1), number))
        phase = each(rng.uniform(0.0, 2 * np.pi, number))
        outline += height * (turned * np.exp(-1j * phase)).real.astype(np.float32)
    depth = (outline - reach) * radius / stretch

    top, left = rng.integers(0, _TEXTURE_SIDE - len(axis), size=(2, number, 1, 1))
    offset = np.arange(len(axis))
    chromatin = texture[top + offset[:, None], left + offset]
    amount = 1 + np.float32(kind.clumping) * chromatin
    amount += np.float32(kind.rim) * (np.exp(-((depth - 1.2) ** 2) / 2) - np.float32(0.25))
    if kind.nucleoli > 0:
        amount += _nucleoli(rng, kind, along, across, radius)
    amount *= each(rng.uniform(0.8, 1.2, number)) * np.float32(kind.darkness)
    # Some nuclei lie above or below the plane in focus.
    softness = each(rng.uniform(1.2, 3.0, number))
    coverage = np.clip(depth / softness + np.float32(0.5), 0, 1)
    return coverage, np.maximum(amount, np.float32(0.1))


def _nucleoli(
    rng: np.random.Generator, kind: NucleusKind, along: Field, across: Field, radius: Field
) -> Field:
    number = len(radius)
    at = rng.normal(0.0, 0.22, size=(2, number, 1, 1)).astype(np.float32)
    present = (rng.random((number, 1, 1)) < kind.nucleoli).astype(np.float32)
    distance = ((along - at[0]) ** 2 + (across - at[1]) ** 2) * radius**2
    # A nucleolus grows with its nucleus: a fifth of its radius.
    spot = np.exp(-distance / (2 * (np.float32(0.16) * radius) ** 2))
    return np.asarray(np.float32(0.9) * present * spot, dtype=np.float32)
