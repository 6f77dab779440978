"""Random fields over the slide: smooth noise, fractal noise and fibrous texture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Field:
    """Draw noise without detail finer than a length.

    Args:
        rng: Source of randomness.
        shape: Rows and columns of the field.
        scale: Distance between independent values, in pixels.

    Returns:
        Field of about zero mean and unit spread, float32 [H, W].
    """
    step = max(scale, 1.0)
    rows, columns = (int(np.ceil(extent / step)) + 3 for extent in shape)
    knots = rng.standard_normal((rows, columns), dtype=np.float32)
    size = (int(columns * step), int(rows * step))
    surface = cv2.resize(knots, size, interpolation=cv2.INTER_CUBIC)
    # The lattice would otherwise sit at the same place in every octave of a fractal sum.
    top, left = rng.integers(0, int(step) + 1, size=2)
    return np.asarray(surface[top : top + shape[0], left : left + shape[1]], dtype=np.float32)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale: float, octaves: int = 4
) -> Field:
    """Sum octaves of smooth noise, each of half the length and half the height of the last.

    Args:
        rng: Source of randomness.
        shape: Rows and columns of the field.
        scale: Length of the coarsest octave, in pixels.
        octaves: Number of octaves to add.

    Returns:
        Field of about zero mean and unit spread, float32 [H, W].
    """
    # The finest octave still has six pixels from knot to knot after the field is thinned out.
    step = max(int(scale / 2 ** (octaves - 1) / 6), 1)
    thin = (shape[0] // step + 2, shape[1] // step + 2)
    total = np.zeros(thin, dtype=np.float32)
    for octave in range(octaves):
        total += smooth_noise(rng, thin, scale / step / 2**octave) * np.float32(0.5**octave)
    grown = cv2.resize(total, (thin[1] * step, thin[0] * step), interpolation=cv2.INTER_CUBIC)
    return standardised(np.asarray(grown[: shape[0], : shape[1]], dtype=np.float32))


def standardised(field: Field) -> Field:
    """Shift and scale a field to zero mean and unit spread."""
    mean, spread = cv2.meanStdDev(field)
    return np.asarray((field - mean.item()) / (spread.item() + 1e-6), dtype=np.float32)


def blurred(field: Field, sigma: float) -> Field:
    """Smooth a field with a Gaussian.

    Args:
        field: Field to smooth, float32 [H, W].
        sigma: Standard deviation of the Gaussian, in pixels.
    """
    if sigma > 2.5:  # nothing fine is left: half the pixels along each side hold it
        height, width = field.shape
        small = cv2.resize(field, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        small = blurred(np.asarray(small, dtype=np.float32), sigma / 2)
        blurry = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        blurry = cv2.GaussianBlur(field, (0, 0), sigma)
    return np.asarray(blurry, dtype=np.float32)


def ramp(field: Field, start: float, stop: float) -> Field:
    """Map a field to a smooth step from 0 to 1.

    Args:
        field: Field to map, float32 [H, W].
        start: Value up to which the step is 0.
        stop: Value from which the step is 1.
    """
    t = np.clip((field - np.float32(start)) / np.float32(stop - start), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def top_share(field: Field, within: Mask, share: float) -> Mask:
    """Choose the pixels of a region where a field is highest.

    Args:
        field: Field that ranks the pixels, float32 [H, W].
        within: Region to choose from, bool [H, W].
        share: Share of the region's pixels to choose, 0..1, met approximately.

    Returns:
        The chosen pixels, bool [H, W].
    """
    if share <= 0.0 or not within.any():
        return np.zeros(field.shape, dtype=np.bool_)
    # Every 16th pixel settles a quantile to well under a percent, at a sixteenth of the time.
    threshold = np.quantile(field[within][::16], 1.0 - share)
    return np.asarray(within & (field > threshold), dtype=np.bool_)


def fibres(rng: np.random.Generator, direction: Field, thickness: int) -> Field:
    """Draw threads that run along a field of directions (line integral convolution).

    Args:
        rng: Source of randomness.
        direction: Angle of the threads at each pixel, in radians, float32 [H, W].
        thickness: Width of a thread, in pixels; it is about fifteen times as long.

    Returns:
        Texture of about zero mean and unit spread, float32 [H, W].
    """
    height, width = direction.shape
    # Nothing is finer than a thread, so the work is done at that resolution.
    small = (width // thickness + 2, height // thickness + 2)
    along_x = cv2.resize(np.cos(direction), small, interpolation=cv2.INTER_AREA)
    along_y = cv2.resize(np.sin(direction), small, interpolation=cv2.INTER_AREA)
    columns, rows = np.meshgrid(
        np.arange(small[0], dtype=np.float32), np.arange(small[1], dtype=np.float32)
    )
    texture = rng.standard_normal((small[1], small[0]), dtype=np.float32)
    # Each pass doubles the number of neighbours averaged, from half a pixel either side.
    for reach in (0.5, 1.0, 2.0, 4.0):
        shift_x, shift_y = along_x * np.float32(reach), along_y * np.float32(reach)
        ahead = cv2.remap(texture, columns + shift_x, rows + shift_y, cv2.INTER_LINEAR)
        behind = cv2.remap(texture, columns - shift_x, rows - shift_y, cv2.INTER_LINEAR)
        texture = np.asarray(ahead + behind, dtype=np.float32)
    size = (small[0] * thickness, small[1] * thickness)
    grown = cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC)
    return standardised(np.asarray(grown[:height, :width], dtype=np.float32))
