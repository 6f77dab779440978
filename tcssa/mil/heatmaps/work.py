"""The work on one slide at a time: its evidence, and its pictures, unless they are there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tcssa.errors import FeatureFileError, UsageError
from tcssa.features.tables import patient_of
from tcssa.files.checksums import fingerprint, params_hash
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classifiers import TCSSA
from tcssa.mil.classifier.final_model import load_final
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.evidence import Reference, divides
from tcssa.mil.evidence.quantities import others_of, quantities_of
from tcssa.mil.heatmaps.pictures import Look, draw_slide
from tcssa.mil.heatmaps.records import Record
from tcssa.mil.heatmaps.scales import Floats
from tcssa.mil.heatmaps.slide_map import SlideMap, slide_evidence
from tcssa.mil.heatmaps.sources import Source
from tcssa.mil.heatmaps.stored_slide import stored_evidence
from tcssa.mil.heatmaps.tables import read_evidence, write_evidence
from tcssa.mil.methods import BagClassifier
from tcssa.mil.prediction.given_slides import open_slide
from tcssa.mil.prediction.slide_model import GivenSlide
from tcssa.mil.results.finished import FinishedRun


class Work:
    """The model and what is done with it, slide by slide."""

    def __init__(
        self,
        trained: FinishedRun,
        out: Path,
        look: Look,
        overwrite: bool,
        device: torch.device,
        model: str | None,
    ) -> None:
        self.trained, self.out, self.look = trained, out, look
        self.overwrite, self.device = overwrite, device
        self.model: BagClassifier = load_final(trained, model)
        self.model.to(device).eval()
        self.reference = Reference.read(trained.folder, self.model.task)
        self.names = list(quantities_of(self.model.task))
        unknown = [name for name in look.shown if name not in self.names]
        if unknown:
            raise UsageError(
                f"the run knows no {', '.join(unknown)}", hint=f"it knows {', '.join(self.names)}"
            )
        self.store = BagStore(cache_bytes=0, half=trained.is_rounded)
        self.opened: dict[str, GivenSlide] = {}
        self.num_skipped = 0
        """Slides that an earlier run drew in the same way."""

    @property
    def lacks_reference(self) -> bool:
        """True where evidence for classes could be compared, but the run holds nothing to do so."""
        could = divides(self.model) and bool(others_of(self.model.task, []))
        return could and self.reference is None

    def open(self, source: Source) -> GivenSlide:
        """Open a slide's features, and see that they fit the run."""
        given = self._stored(source)
        if given is None:
            given, _ = open_slide(source.bag, self.trained, {})
        if given is None:
            raise FeatureFileError(source.bag.address, "has no patches")
        self.opened[source.slide_id] = given
        return given

    def evidence(self, source: Source) -> Record:
        """Compute the evidence of a slide and write it, if that is not done."""
        features = [source.bag.name, fingerprint(source.bag.file)]
        compared = {} if self.reference is None else self.reference.sums
        made_from = params_hash(
            {
                "model": self.trained.checkpoint_sha256,
                "features": features,
                "compared": compared,
            }
        )
        path = self._record_file(source)
        record = None if self.overwrite else Record.read(path)
        if record is not None and record.made_from == made_from and self._table(source).is_file():
            return record
        slide = self.opened[source.slide_id].slide
        if source.read_stored is None:
            evidence = slide_evidence(self.model, slide, self.store, self.device)
        else:
            assert isinstance(self.model, SlideClassifier)  # as `_stored` saw
            evidence = stored_evidence(self.model, source.read_stored(), self.device)
        slide_map = SlideMap.of(evidence, self.model.task, self.reference)
        places = source.places()
        write_evidence(self._table(source), slide_map, None if isinstance(places, str) else places)
        record = Record(
            slide_id=source.slide_id,
            made_from=made_from,
            num_patches=slide.num_patches,
            scheme=evidence.scheme,
            logits=evidence.logits.tolist(),
            predicted=list(self.model.task.values(torch.from_numpy(evidence.logits))),
            leading=slide_map.leading,
            compared=compared,
        )
        record.write(path)
        return record

    def values_of_all(self, records: Sequence[Record]) -> dict[str, Floats]:
        """Return the values of all slides' patches by name, for a scale that they share."""
        each = [self._read(record).values for record in records]
        return {name: np.concatenate([v[name] for v in each]) for name in (each[0] if each else ())}

    def draw(self, source: Source, together: dict[str, Floats] | None) -> Record:
        """Draw a slide, if that is not done.

        Args:
            source: The slide, whose evidence was computed.
            together: Values of all slides by name, if they share one scale.
        """
        record = Record.read(self._record_file(source))
        assert record is not None
        shared = {
            name: hashlib.sha256(values.tobytes()).hexdigest()
            for name, values in (together or {}).items()
        }
        drawn_from = params_hash(
            {
                "look": self.look,
                "shared": shared,
                "slide": str(source.slide),
                "of": record.made_from,
            }
        )
        files = [self.out / name for name in record.pictures]
        if record.drawn_from == drawn_from and all(file.is_file() for file in files):
            self.num_skipped += 1
            return record
        places = source.places()
        made: list[Path] = []
        on_slide = True
        if not isinstance(places, str):
            slide_map = self._read(record)
            made, on_slide = draw_slide(self.out, source, slide_map, places, self.look, together)
        pictures = [str(file.relative_to(self.out)) for file in made]
        record = record.model_copy(
            update={"drawn_from": drawn_from, "pictures": pictures, "on_slide": on_slide}
        )
        record.write(self._record_file(source))
        return record

    def _stored(self, source: Source) -> GivenSlide | None:
        """Open a slide of an encoded archive; None where the source is features."""
        if source.read_stored is None:
            return None
        if not isinstance(self.model, SlideClassifier):
            name = self.trained.settings.model.name
            what = f"a run of --model {name}" if name != TCSSA else "an ensemble of folds"
            raise FeatureFileError(
                source.bag.path,
                f"is of slots, and {self.trained.folder} is {what}, which has no slots of its own",
                hint="give the slide's features",
            )
        num_patches = source.read_stored().num_patches
        name, case = source.slide_id, patient_of(source.slide_id)
        slide = CohortSlide(name, case, 0, source.bag.path, num_patches)
        return GivenSlide(slide, (source.bag,))

    def _read(self, record: Record) -> SlideMap:
        return read_evidence(self.out / "evidence" / f"{record.slide_id}.csv", record.leading)

    def _table(self, source: Source) -> Path:
        return self.out / "evidence" / f"{source.slide_id}.csv"

    def _record_file(self, source: Source) -> Path:
        return self.out / "slides" / f"{source.slide_id}.json"
