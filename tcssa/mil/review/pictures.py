"""Pictures of wrongly classified slides: the slide beside the evidence for the predicted class."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import torch
from PIL import Image

from tcssa.errors import DiskFullError, TcssaError
from tcssa.files import atomic
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.calibration.calibration import targets_of
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.evidence import Reference, divides, evidence_of
from tcssa.mil.heatmaps.drawing import Layer
from tcssa.mil.heatmaps.side_by_side import side_by_side
from tcssa.mil.heatmaps.slide_map import SlideMap
from tcssa.mil.methods import BagClassifier
from tcssa.mil.review.wrong_slides import WrongSlide
from tcssa.reporter import Reporter
from tcssa.slides.image.places import read_places

_SIDE_PX = 420
"""Longest side of a slide in a picture, which has it twice."""


class Pictures:
    """Draws slides with the evidence of the model that predicted them.

    Args:
        folder: Folder of the pictures; those of before are removed.
        slides: The bags of the cohort by slide_id.
        load: Returns the model of a fold, of None the one that predicts new slides.
        store: Reads the features.
        device: Device to compute on.
        reporter: Warned of slides that cannot be drawn.
        reference: What the evidence of the model for new slides is compared with, if there is
            something; folds' models have none.
    """

    def __init__(
        self,
        folder: Path,
        slides: Mapping[str, CohortSlide],
        load: Callable[[int | None], BagClassifier],
        store: BagStore,
        device: torch.device,
        reporter: Reporter,
        reference: Reference | None = None,
    ) -> None:
        self._folder, self._slides, self._load = folder, slides, load
        self._store, self._device, self._reporter = store, device, reporter
        self._reference = reference
        self.of_several: list[str] = []
        """Patients whose bag is of several slides, which have no places in common: not drawn."""
        self.are_alone = False
        """Whether slides were drawn without evidence, which their method gives slowly only."""
        for path in folder.glob("*.jpg"):
            path.unlink()

    def draw(self, wrong: Sequence[WrongSlide]) -> list[Path | None]:
        """Draw slides; None for one of which it is not known where its patches lie, or of several.

        Models are loaded one after another. Where evidence takes occlusion, which is slow, the
        slide alone is drawn.
        """
        found: list[Path | None] = [None] * len(wrong)
        order = sorted(range(len(wrong)), key=lambda i: (wrong[i].row.fold or 0, i))
        for fold, ranks in groupby(order, key=lambda i: wrong[i].row.fold):
            model = self._load(fold).to(self._device).eval()
            for rank in ranks:
                try:
                    found[rank] = self._draw(rank, wrong[rank], model)
                except DiskFullError:
                    raise
                except TcssaError as error:
                    name = wrong[rank].row.slide_id
                    self._reporter.warn(f"the page shows no picture of {name}: {error}")
        return found

    def _draw(self, rank: int, wrong: WrongSlide, model: BagClassifier) -> Path | None:
        slide = self._slides.get(wrong.row.slide_id)
        if slide is not None and len(slide.slides) > 1:
            self.of_several.append(slide.slide_id)
            return None
        places = "" if slide is None else read_places(slide.path)
        if slide is None or isinstance(places, str):
            return None
        pixels = side_by_side(slide.path, places, self._layers(wrong, slide, model), _SIDE_PX)
        path, content = self._folder / f"{rank + 1:02d}-{slide.slide_id}.jpg", io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=85)
        atomic.write_bytes(path, content.getvalue())
        return path

    def _layers(self, wrong: WrongSlide, slide: CohortSlide, model: BagClassifier) -> list[Layer]:
        if not divides(model):
            self.are_alone = True
            return []
        coords = self._store.coords(slide) if slide.has_coords else None
        evidence = evidence_of(model, self._store.get(slide).to(self._device), coords)
        reference = self._reference if wrong.row.fold is None else None
        slide_map = SlideMap.of(evidence, model.task, reference)
        of_target = slide_map.leading[list(targets_of(model.task)).index(wrong.target)]
        return slide_map.layers([of_target])[:1]
