"""Labels of patches from areas that a pathologist drew: a folder of GeoJSON, one file a slide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FileError, TableError
from tcssa.files.limits import SLIDE_SIDE
from tcssa.reporter import Reporter
from tcssa.slides.image.places import Places
from tcssa.slides.tissue.outlines import filled, read_labelled_outlines

UNKNOWN = -1
"""The label of a patch that has none."""
_STEPS = 8
"""Pixels along a patch's side in the raster on which areas are filled."""
_SUFFIX = ".geojson"


def read_outlined(
    folder: Path, places: Mapping[str, Places], reporter: Reporter
) -> tuple[list[str], dict[str, NDArray[np.int64]]]:
    """Label the patches whose centre lies in an area of one label.

    Args:
        folder: Folder with ``S.geojson`` for each slide S; the label is the area's classification,
            as in QuPath.
        places: Patch locations by slide_id, for the slides whose coordinates are known.
        reporter: Receives a warning about patches in areas of two labels, which get none.

    Returns:
        The names of the labels, sorted; and by slide_id the label of each patch, for the slides
        that have a file.

    Raises:
        TableError: No slide has a file.
        FileError: A file is broken, or has no area with a classification.
    """
    areas = {}
    for slide_id in places:
        path = folder / f"{slide_id}{_SUFFIX}"
        if path.is_file():
            # the slide's own size is not known here, and areas without patches are not an error
            areas[slide_id] = read_labelled_outlines(path, (SLIDE_SIDE.value(),) * 2, FileError)
    if not areas:
        raise TableError(folder, f"has no S{_SUFFIX} of a test slide with known places")
    names = sorted({name for of_slide in areas.values() for name in of_slide})
    labels: dict[str, NDArray[np.int64]] = {}
    num_twice = 0
    for slide_id, of_slide in areas.items():
        place = places[slide_id]
        scale = max(1.0, place.side / _STEPS)
        centres = ((place.coords + place.side / 2) / scale).astype(int)
        width, height = (centres.max(axis=0) + 1).tolist()
        labels[slide_id] = np.full(len(centres), UNKNOWN)
        times = np.zeros(len(centres), int)
        for name, outlines in of_slide.items():
            area = filled(outlines, (math.ceil(height), math.ceil(width)), scale, FileError)
            inside = area[centres[:, 1], centres[:, 0]]
            labels[slide_id][inside] = names.index(name)
            times += inside
        labels[slide_id][times > 1] = UNKNOWN
        num_twice += int((times > 1).sum())
    if num_twice:
        reporter.warn(f"patches in areas of two labels, which count for none: {num_twice}")
    return names, labels
