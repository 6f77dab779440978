"""Heat maps as a pyramidal OME-TIFF of numbers, which viewers lay over the slide.

A channel a map, float32, NaN where there is no patch. Its pixels are larger than the slide's; their
size in µm is stated, by which a viewer aligns the two, for the corners of both are the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcssa.files import atomic
from tcssa.mil.heatmaps.drawing import raster
from tcssa.mil.heatmaps.scales import Floats
from tcssa.slides.image.places import Places

_STEPS = 8
"""Pixels along the side of a patch."""
_TILE = 256
_MOST_PIXELS = 4096
"""Longest side; on larger slides patches have fewer pixels."""


def write_overlay(
    path: Path, channels: Mapping[str, Floats], places: Places, extent: tuple[float, float]
) -> None:
    """Write the overlay, atomically.

    Args:
        path: The file, ``.ome.tif``.
        channels: Values by the name of the channel, [N] each.
        places: Locations of the patches, in level-0 pixels.
        extent: Width and height of the slide, in level-0 pixels.
    """
    import tifffile

    scale = max(places.side / _STEPS, max(extent) / _MOST_PIXELS)
    shape = (math.ceil(extent[1] / scale), math.ceil(extent[0] / scale))
    levels = [
        np.stack([raster(each, places, scale, shape) for each in channels.values()]).astype("f4")
    ]
    while max(levels[-1].shape[1:]) > _TILE:
        levels.append(levels[-1][:, ::2, ::2])
    metadata: dict[str, object] = {"axes": "CYX", "Channel": {"Name": list(channels)}}
    if places.mpp is not None:
        um = places.mpp * scale
        metadata |= {"PhysicalSizeX": um, "PhysicalSizeY": um}
        metadata |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    # a mapping of options has one type for all of them
    how: dict[str, Any] = {"tile": (_TILE, _TILE), "compression": "zlib"}
    with atomic.replacing(path) as temporary, tifffile.TiffWriter(temporary, ome=True) as tiff:
        tiff.write(
            levels[0],
            subifds=len(levels) - 1,
            photometric="minisblack",
            metadata=metadata,
            **how,
        )
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, photometric="minisblack", metadata=None, **how)
