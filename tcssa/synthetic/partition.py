"""Cutting a region into rounded compartments: fat cells, glands, nests, tumour cells."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.synthetic.fields import Field, Mask, blurred, smooth_noise
from tcssa.synthetic.placement import Points

Labels = NDArray[np.int32]


def nearest_centre(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centres: Points,
    warp: float,
    warp_scale: float,
) -> Labels:
    """Give every pixel to its nearest centre, with wavering borders between them.

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        centres: Centres as (x, y), float32 [N, 2].
        warp: How far the borders waver, in pixels.
        warp_scale: Length over which they waver, in pixels.

    Returns:
        Number of the compartment at each pixel, from 1 (0 everywhere if there are no centres),
        int32 [H, W].
    """
    if len(centres) == 0:
        return np.zeros(shape, dtype=np.int32)
    free = np.ones(shape, dtype=np.uint8)
    x, y = centres.astype(np.intp).T
    free[y, x] = 0
    _, labels = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    columns, rows = np.meshgrid(
        np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32)
    )
    columns += np.float32(warp) * smooth_noise(rng, shape, warp_scale)
    rows += np.float32(warp) * smooth_noise(rng, shape, warp_scale)
    warped = cv2.remap(
        labels.astype(np.float32), columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(warped, dtype=np.int32)


def depth_within(labels: Labels) -> Field:
    """Measure how far each pixel is from the border of its compartment, in pixels."""
    interior = np.ones(labels.shape, dtype=np.bool_)
    interior[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    interior[1:] &= labels[1:] == labels[:-1]
    return depth_of(interior)


def depth_of(region: Mask) -> Field:
    """Measure how far inside a region each pixel is, in pixels; 0 outside."""
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(depth, dtype=np.float32)


def rounded(region: Mask, sigma: float) -> Mask:
    """Round the corners of a region and drop fine specks.

    Args:
        region: Region to round, bool [H, W].
        sigma: Size of the details that are lost, in pixels.

    Returns:
        The rounded region, bool [H, W].
    """
    return np.asarray(blurred(region.astype(np.float32), sigma) > 0.5, dtype=np.bool_)


def tangent(field: Field) -> Field:
    """Give the direction along which a smooth field is level, in radians."""
    across_x = cv2.Sobel(field, cv2.CV_32F, 1, 0)
    across_y = cv2.Sobel(field, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.phase(across_y, -across_x), dtype=np.float32)
