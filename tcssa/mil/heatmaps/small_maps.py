"""Small maps of evidence for the page of ``tcssa predict``: a slide beside its evidence."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.ensemble import members_of
from tcssa.mil.evidence import Reference, divides
from tcssa.mil.heatmaps.side_by_side import side_by_side
from tcssa.mil.heatmaps.slide_map import SlideMap, slide_evidence
from tcssa.mil.methods import BagClassifier
from tcssa.mil.prediction.run_model import RunModel
from tcssa.mil.prediction.slide_model import GivenSlide
from tcssa.mil.prediction.slide_pictures import PICTURE_PX
from tcssa.slides.image.places import read_places

_BLOCKS = 32
"""Blocks of occlusion: coarser than those of ``tcssa heatmap``, in a quarter of the time."""


class SmallMaps:
    """See `tcssa.mil.prediction.slide_pictures.MapMaker`; for runs of every method.

    Args:
        model: The run, opened for prediction.
    """

    def __init__(self, model: RunModel) -> None:
        self._model = model
        self._store = BagStore(cache_bytes=0, half=model.is_rounded)
        self._reference = Reference.read(model.run.folder, model.task)
        self.passes = passes(model.final)
        self.shows = (
            "Left the slide, or the grid of its patches where there is no thumbnail; right its "
            "evidence for the predicted class (of other labels, for a higher value): red speaks "
            "for it, blue against it, on a scale of each slide's own."
        )
        if self._reference is not None:
            self.shows += (
                " Evidence for a class is compared with that on training slides of the other "
                "classes: what those have too, such as normal tissue, has none."
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
        return side_by_side(ref.address, places, [layer], PICTURE_PX)


def passes(model: BagClassifier) -> int:
    """Return about how many classifications of a slide its small map takes as long as."""
    return sum(3 if divides(member) else _BLOCKS + 1 for member in members_of(model))
