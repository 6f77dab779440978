"""Segmenters, by name, that tell tissue from glass on a small picture of the slide.

- ``otsu``: Otsu's threshold on the saturation. Stain has colour and glass has none.
- ``texture``: Otsu's threshold on the local entropy of the grey values. For stains that are pale
  or grey (immunohistochemistry without counterstain, faded slides); glass is smooth.
- ``all``: every patch.
- ``module:factory``: your own, such as a deep network.

Otsu splits whatever it is given, so thresholds are held within bounds: a slide that is all tissue
stays all tissue, and a blank one stays empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcssa.errors import UnknownNameError, UsageError
from tcssa.plugins import load_factory

Segmenter = Callable[[NDArray[np.uint8], float], NDArray[np.bool_]]
"""Function of RGB pixels [h, w, 3] and their size in µm that tells where tissue is, [h, w]."""

_LEAST, _MOST = 12, 20
"""Bounds of the threshold on the saturation, from 0 to 255. Glass measures 0 to 6, faintly tinted
glass up to 10; pale tissue and the air of a lung's alveoli 20 to 40, strong stain above 90."""
_BLACK = 40
"""Darker pixels (edges of a scan) have a colour only by chance."""
_BLUR_PX = 5

_GREYS = 32
_WINDOW_UM = 72.0
_LEAST_BITS, _MOST_BITS = 1.8, 2.6
"""Bounds of the threshold on the entropy. Glass with a camera's noise of 1.5 (of 255) measures up
to 1.0 bits, even where the light falls off over the slide; the tissue of the slides at hand 3 to
4.5."""


def segmenter(name: str) -> Segmenter:
    """Return the segmenter of this name.

    Raises:
        UnknownNameError: No segmenter has this name.
        UsageError: The user's own segmenter cannot be imported.
    """
    if ":" in name:
        return _of_user(name)
    if name not in _SEGMENTERS:
        raise UnknownNameError("tissue", name, [*_SEGMENTERS, "module:factory"])
    return _SEGMENTERS[name]


def by_saturation(pixels: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
    """Find tissue by its colour: Otsu's threshold on the saturation.

    Args:
        pixels: RGB picture of the slide, ``[h, w, 3]``.
        um_per_px: Resolution of the picture, in µm per pixel; not used.

    Returns:
        True where tissue is, ``[h, w]``.
    """
    hue_saturation_value = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    saturation = np.ascontiguousarray(hue_saturation_value[..., 1])
    saturation[hue_saturation_value[..., 2] < _BLACK] = 0
    saturation = np.asarray(cv2.medianBlur(saturation, _BLUR_PX), np.uint8)
    otsu, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(saturation > min(max(otsu, _LEAST), _MOST))


def by_texture(pixels: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
    """Find tissue by its texture: Otsu's threshold on the local entropy.

    Args:
        pixels: RGB picture of the slide, ``[h, w, 3]``.
        um_per_px: Resolution of the picture, in µm per pixel.

    Returns:
        True where tissue is, ``[h, w]``.
    """
    entropy = local_entropy(pixels, max(3, round(_WINDOW_UM / um_per_px)))
    scaled = np.rint(entropy * 255 / np.log2(_GREYS)).astype(np.uint8)
    otsu, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bits = otsu * np.log2(_GREYS) / 255
    return np.asarray(entropy > min(max(bits, _LEAST_BITS), _MOST_BITS))


def local_entropy(pixels: NDArray[np.uint8], window_px: int) -> NDArray[np.float32]:
    """Compute the entropy of the grey values in the window around each pixel.

    Args:
        pixels: RGB picture, ``[h, w, 3]``.
        window_px: Side of the window, in pixels.

    Returns:
        The entropy in bits, ``[h, w]``.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) // (256 // _GREYS)
    entropy = np.zeros(grey.shape, np.float32)
    for value in range(_GREYS):
        share = cv2.boxFilter((grey == value).astype(np.float32), -1, (window_px, window_px))
        entropy -= share * np.log2(np.maximum(share, 1e-9))
    return np.maximum(entropy, 0)


def everywhere(pixels: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
    """Take the whole picture as tissue.

    Args:
        pixels: RGB picture of the slide, ``[h, w, 3]``.
        um_per_px: Resolution of the picture, in µm per pixel; not used.

    Returns:
        True everywhere, ``[h, w]``.
    """
    return np.ones(pixels.shape[:2], np.bool_)


_SEGMENTERS: dict[str, Segmenter] = {
    "otsu": by_saturation,
    "texture": by_texture,
    "all": everywhere,
}


def _of_user(name: str) -> Segmenter:
    theirs: Any = load_factory("tissue segmenter", name)()

    def segment(pixels: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
        """See `Segmenter`."""
        mask = np.asarray(theirs(pixels, um_per_px))
        if mask.shape != pixels.shape[:2] or mask.dtype.kind not in "bui":
            raise UsageError(
                f"the tissue segmenter {name} returned {mask.dtype} {list(mask.shape)}",
                hint=f"return True where tissue is, {list(pixels.shape[:2])}, as its picture",
            )
        return mask > 0

    return segment
