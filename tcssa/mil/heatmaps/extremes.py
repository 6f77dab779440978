"""The patches with the most evidence for a class and the most against it, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tcssa.files import atomic
from tcssa.mil.heatmaps.scales import Floats
from tcssa.slides.image.places import Places
from tcssa.slides.image.slide import Slide

_CROP_PX, _GAP_PX, _TEXT_PX = 168, 6, 22


def write_extremes(
    path: Path, slide: Path, places: Places, rows: Sequence[Sequence[int]], values: Floats
) -> None:
    """Write a JPEG of patches in rows, the number under each its evidence.

    Args:
        path: The JPEG.
        slide: The slide file.
        places: Locations of the patches, in level-0 pixels.
        rows: The patches of each row of pictures.
        values: The evidence, [N].

    Raises:
        SlideError: The slide cannot be read.
    """
    step, high = _CROP_PX + _GAP_PX, _CROP_PX + _TEXT_PX
    width = max(map(len, rows)) * step + _GAP_PX
    sheet = np.full((len(rows) * high + _GAP_PX, width, 3), 255, np.uint8)
    with Slide(slide) as opened:
        for number, patches in enumerate(rows):
            top = number * high + _GAP_PX
            for place, patch in enumerate(patches):
                left = place * step + _GAP_PX
                x, y = np.rint(places.coords[patch]).astype(int).tolist()
                crop = opened.read_patch(x, y, places.side, _CROP_PX)
                sheet[top : top + _CROP_PX, left : left + _CROP_PX] = crop
                text, at = f"{values[patch]:+.2g}", (left + 4, top + _CROP_PX + 14)
                cv2.putText(
                    sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA
                )
    bgr = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    atomic.write_bytes(path, encoded.tobytes())
