"""Small maps of evidence for the page of ``tcssa predict``: a slide beside its evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.evidence import Reference, passes
from tcssa.mil.heatmaps.drawing import OPACITY, raster
from tcssa.mil.heatmaps.slide_map import SlideMap, slide_evidence
from tcssa.mil.prediction.run_model import RunModel
from tcssa.mil.prediction.slide_model import GivenSlide
from tcssa.mil.prediction.slide_pictures import PICTURE_PX
from tcssa.slides.image.places import picture_of, read_places

_BLOCKS = 32
"""Blocks of occlusion: coarser than those of ``tcssa heatmap``, in a quarter of the time."""
_GAP_PX = 8


class SmallMaps:
    """See `tcssa.mil.prediction.slide_pictures.MapMaker`; for runs of every method.

    Args:
        model: The run, opened for prediction.
    """

    def __init__(self, model: RunModel) -> None:
        self._model = model
        self._store = BagStore(cache_bytes=0, half=model.is_rounded)
        self._reference = Reference.read(model.run.folder, model.task)
        self.passes = passes(model.final, _BLOCKS)
        self.shows = (
            "Left the slide, or the grid of its patches where there is no thumbnail; right its "
            "evidence for the predicted class (of other labels, for a higher value): red speaks "
            "for it, blue against it, on a scale of each slide's own."
        )

    def draw(self, given: GivenSlide) -> NDArray[Any] | None:
        """See `MapMaker.draw`."""
        ref = given.refs[0]
        places = read_places(ref.address)
        if isinstance(places, str):
            return None
        model, device = self._model.final, self._model.device
        evidence = slide_evidence(model, given.slide, self._store, device, most_blocks=_BLOCKS)
        layer = SlideMap.of(evidence, model.task, self._reference).layers()[0]
        picture, is_slide = picture_of(ref.address, None, places)
        small = Image.fromarray(picture.pixels)
        small.thumbnail((PICTURE_PX, PICTURE_PX))
        left = np.asarray(small)
        height, width = left.shape[:2]
        scale = picture.scale * picture.pixels.shape[1] / width
        # the origin of a grid of patches is its own corner, not the slide's
        drawn = places if is_slide else places.from_own_corner()
        shown = raster(layer.scale(layer.values), drawn, scale, (height, width))
        colours = colormaps[layer.scale.colours](np.nan_to_num(shown))[..., :3] * 255
        share = OPACITY * np.isfinite(shown)[..., None]
        right = np.rint((1 - share) * left + share * colours).astype(np.uint8)
        gap = np.full((height, _GAP_PX, 3), 255, np.uint8)
        return np.concatenate([left, gap, right], axis=1)
