"""Nuclei: the appearance of each kind, and stamping many of them on a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcssa.synthetic.canvas import Canvas
from tcssa.synthetic.fields import Field, blurred, standardised
from tcssa.synthetic.placement import Points

_TEXTURE_SIDE = 512
_BATCH = 256


@dataclass(frozen=True)
class NucleusKind:
    """Appearance of one kind of nucleus.

    Attributes:
        radius: Radius of a disc of the mean area, in level-0 pixels of 0.5 micrometres.
        spread: Standard deviation of the logarithm of the radius.
        elongation: Mean ratio of length to width.
        irregularity: Height of the dents and bulges of the outline, in radii.
        darkness: Mean amount of haematoxylin, optical-density units.
        clumping: Height of the chromatin's texture, as a share of the darkness.
        grain: Size of the chromatin's clumps, in pixels.
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


LYMPHOCYTE = NucleusKind(5.6, 0.08, 1.1, 0.03, 1.45, 0.22, 1.5, 0.1)
FIBROBLAST = NucleusKind(5.6, 0.18, 4.2, 0.07, 0.95, 0.15, 1.2, 0.1)
ENDOTHELIUM = NucleusKind(5.0, 0.15, 3.0, 0.05, 1.05, 0.15, 1.2, 0.1)
DUCT_EPITHELIUM = NucleusKind(6.8, 0.1, 1.35, 0.04, 1.0, 0.14, 1.3, 0.15)


@dataclass(frozen=True, eq=False)
class _Stamps:
    """Squares that hold one nucleus each: coverage and haematoxylin, float32 [N, S, S]."""

    coverage: Field
    haematoxylin: Field


def stamp_nuclei(
    canvas: Canvas,
    rng: np.random.Generator,
    kind: NucleusKind,
    centres: Points,
    angles: NDArray[np.float32] | None = None,
) -> None:
    """Draw nuclei of one kind on a canvas, later ones over earlier ones.

    Args:
        canvas: Canvas to draw on; those too near its border to fit are left out.
        rng: Source of randomness.
        kind: Appearance of the nuclei.
        centres: Their centres as (x, y), float32 [N, 2].
        angles: Directions of their long axes, in radians, float32 [N]; random if None.
    """
    texture = standardised(
        blurred(rng.standard_normal((_TEXTURE_SIDE, _TEXTURE_SIDE), dtype=np.float32), kind.grain)
    )
    if angles is None:
        angles = rng.uniform(0.0, np.pi, size=len(centres)).astype(np.float32)
    for start in range(0, len(centres), _BATCH):
        batch = slice(start, start + _BATCH)
        stamps = _draw_stamps(rng, kind, texture, angles[batch])
        _press(canvas, stamps, centres[batch])


def _draw_stamps(
    rng: np.random.Generator, kind: NucleusKind, texture: Field, angles: NDArray[np.float32]
) -> _Stamps:
    number = len(angles)

    def each(values: NDArray[np.float64]) -> Field:
        return values.astype(np.float32).reshape(number, 1, 1)

    radius = each(kind.radius * np.exp(np.clip(rng.normal(0.0, 1.0, number), -2, 2) * kind.spread))
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
    return _Stamps(coverage, np.maximum(amount, np.float32(0.1)))


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


def _press(canvas: Canvas, stamps: _Stamps, centres: Points) -> None:
    side = stamps.coverage.shape[1]
    height, width = canvas.nuclei.shape
    corners = np.rint(centres).astype(np.intp) - side // 2
    for coverage, amount, (left, top) in zip(
        stamps.coverage, stamps.haematoxylin, corners, strict=True
    ):
        if left < 0 or top < 0 or left + side > width or top + side > height:
            continue
        window = (slice(top, top + side), slice(left, left + side))
        canvas.count += 1
        canvas.haematoxylin[window] += coverage * (amount - canvas.haematoxylin[window])
        canvas.eosin[window] *= 1 - np.float32(0.4) * coverage
        canvas.nuclei[window][coverage > 0.5] = canvas.count
