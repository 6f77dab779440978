"""An exported classifier as a model of slides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tcssa.errors import ArtefactError
from tcssa.features.patch_widths import other_width
from tcssa.mil.prediction.slide_model import GivenSlide, Outputs, ReadSlide
from tcssa.mil.tasks import Classes, MilTask
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.checks import require_places


class ArtefactModel:
    """See `tcssa.mil.prediction.slide_model.SlideModel`.

    An artefact holds one model, and neither its folds nor a statistic of the training patches.

    Args:
        runtime: The artefact's runtime, entered.

    Raises:
        ArtefactError: The artefact does not end with logits of classes.
    """

    def __init__(self, runtime: Runtime) -> None:
        facts = runtime.facts
        if "logits" not in facts.heads or facts.classes is None:
            raise ArtefactError(
                facts.path,
                "ends with slots and predicts nothing",
                hint="export the run with --what classifier",
            )
        self._runtime = runtime
        self.name = f"{facts.path.resolve().name}, {runtime.name}"
        self.task: MilTask = Classes(facts.classes)
        self.feature_dim, self.encoder = facts.feature_dim, facts.encoder
        self.sha256, self.num_folds = facts.sha256, 0
        self.unit: Literal["slide", "case"] = "slide"

    def doubts(self, slides: Sequence[GivenSlide]) -> list[str]:
        """See `SlideModel.doubts`; an artefact does not say which slides it was trained on."""
        widths = {each.slide.slide_id: each.patch_um for each in slides}
        found = other_width(self._runtime.facts.extraction.patch_um, widths, model="the artefact")
        return [] if found is None else [found]

    def predict(self, slide: ReadSlide) -> Outputs:
        """See `SlideModel.predict`."""
        facts, mpp = self._runtime.facts, slide.slide.um_per_coord
        require_places(facts, slide.slide.path, mpp, has_coords=slide.corners is not None)
        coords = slide.corners if facts.spatial else None
        logits = self._runtime.encode(slide.features, coords, mpp).logits
        assert logits is not None  # `facts.heads` has them
        return Outputs(logits.tolist(), [], None)
