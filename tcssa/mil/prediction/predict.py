"""Prediction of slides without labels.

::

    OUT/
      predictions.csv    a row a slide: each class's probability, the predicted class, the folds'
                         agreement, N, the share of patches unlike those of training; a row a
                         patient where the model was trained by case
      cases.csv          the same, a row a patient, if asked for
      failed.csv         slides that could not be predicted, with the reason; only if there are any
      report.html        all of this on one page
      prediction.json    what predicted, and which kind of label
      outputs/S.json     the model's outputs of each slide (or patient), by which a second call
                         resumes
      maps/S.jpg         small maps of the slides that come first on the page
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tcssa.errors import DiskFullError, FeatureFileError, TcssaError, UsageError, counted
from tcssa.features import BagRef
from tcssa.features.patients import cases_of, warn_of_unknown
from tcssa.files import atomic
from tcssa.files.forwarding import remove
from tcssa.mil.calibration.record import Calibrations
from tcssa.mil.prediction.doubts import unlike_training
from tcssa.mil.prediction.given_slides import FailedSlide, joined_by_case, open_slides
from tcssa.mil.prediction.predicted_rows import (
    Columns,
    PredictedRow,
    by_case,
    write_cases,
    write_slides,
)
from tcssa.mil.prediction.prediction_page import write_prediction_page
from tcssa.mil.prediction.read_ahead import Loaded, read_ahead
from tcssa.mil.prediction.slide_model import GivenSlide, SlideModel
from tcssa.mil.prediction.slide_pictures import (
    MAPS_FOLDER,
    MapMaker,
    SlidePictures,
    map_file,
)
from tcssa.mil.prediction.stored_outputs import (
    StoredOutputs,
    outputs_folder,
    read_outputs,
    write_outputs,
)
from tcssa.mil.tasks.serialization import task_facts
from tcssa.reporter import Reporter
from tcssa.run import PREDICTION_FILE

PREDICTIONS_FILE, CASES_FILE, FAILED_FILE = "predictions.csv", "cases.csv", "failed.csv"
_Stored = dict[tuple[BagRef, ...], StoredOutputs]
"""Outputs by the feature files that they are of."""


@dataclass
class Predicted:
    """The predictions of slides, as the tables hold them."""

    folder: Path
    model: SlideModel
    columns: Columns
    """The columns of the tables, with the cells of rows."""
    slides: list[PredictedRow] = field(default_factory=list)
    """One row a slide, or a patient where the model was trained by case."""
    cases: list[PredictedRow] | None = None
    """One row a patient, if asked for."""
    num_done_before: int = 0
    failed: list[FailedSlide] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return the content of ``prediction.json``."""
        model = self.model
        return {
            "model": model.name,
            "model_sha256": model.sha256,
            "folds": model.num_folds,
            "encoder": model.encoder,
            "feature_dim": model.feature_dim,
            "task": model.task.facts(),
            **task_facts(model.task),
            "calibration": {
                name: one.model_dump() for name, one in self.columns.calibrations.items()
            },
            "calibrated": self.columns.is_scaled,
            "unit": model.unit,
            "num_slides": sum(len(row.slides) for row in self.slides),
            "num_failed": len(self.failed),
        }


def predict(
    model: SlideModel,
    bags: Sequence[BagRef],
    out: Path,
    reporter: Reporter,
    *,
    cases: Mapping[str, str] | None = None,
    with_cases: bool = False,
    overwrite: bool = False,
    failed: Sequence[FailedSlide] = (),
    maps: MapMaker | None = None,
    calibrations: Calibrations | None = None,
    is_scaled: bool = False,
) -> Predicted:
    """Predict slides, and write the predictions.

    Slides that this model has predicted from the same features are not predicted again.

    Args:
        model: What predicts.
        bags: The slides' feature files.
        out: Folder to write to.
        reporter: Told of progress, and warned of slides that fail.
        cases: Patients by slide_id; see `tcssa.features.patients.cases_of`.
        with_cases: Also write one row a patient.
        overwrite: Predict slides again that are done already.
        failed: Slides that failed before they had features.
        maps: Draws maps for the page, of the slides that come first there.
        calibrations: Thresholds and temperatures by target, where the model has some.
        is_scaled: Show probabilities scaled by temperature; the predicted class stays.

    Raises:
        UsageError: Two files are of one slide, features are of another encoder than the model's, or
            a patient who is one bag cannot name a file, or there is no temperature to scale with.
        FeatureDimError: Features are of another length.
        DiskFullError: There is no space left; finished slides are kept.
    """
    columns = Columns(model.task, calibrations or {}, is_scaled)
    if is_scaled:
        _require_temperature(model, columns)
    given, unusable = _open(bags, model, failed, cases or {}, with_cases, reporter)
    found = Predicted(out, model, columns, failed=[*failed, *unusable])
    atomic.discard_leftovers(outputs_folder(out))
    atomic.discard_leftovers(out / MAPS_FOLDER)
    atomic.discard_leftovers(out)
    stored = {} if overwrite else _done(given, out, model)
    found.num_done_before = len(stored)
    stored |= _predict_all([s for s in given if s.refs not in stored], found, reporter)
    found.slides = [
        PredictedRow(name, s.slide.case_id, of, done.num_patches, done.outputs)
        for s in given
        for name, of in [(s.slide.slide_id, [ref.slide_id for ref in s.refs])]
        if (done := stored.get(s.refs)) is not None
    ]
    _warn_of_unlike(found.slides, reporter)
    if with_cases:
        found.cases = by_case(found.slides)
    predicted = [slide for slide in given if slide.refs in stored]
    _write(found, SlidePictures(out, predicted, max(1, model.num_folds), maps, reporter))
    return found


def _warn_of_unlike(rows: Sequence[PredictedRow], reporter: Reporter) -> None:
    if doubt := unlike_training({row.name: row.outputs.unlike for row in rows}):
        reporter.warn(doubt)


def _require_temperature(model: SlideModel, columns: Columns) -> None:
    if not columns.calibrations:
        raise UsageError(
            f"{model.name} has no temperature to scale with",
            hint="runs of classes and grades have one, and their classifiers that are exported, if "
            "they were not made by an older tcssa; leave --calibrated out",
        )


def _open(
    bags: Sequence[BagRef],
    model: SlideModel,
    failed: Sequence[FailedSlide],
    table: Mapping[str, str],
    with_cases: bool,
    reporter: Reporter,
) -> tuple[list[GivenSlide], list[FailedSlide]]:
    """Open the slides, by case as bags of patients, and tell which cannot be predicted."""
    names = [bag.slide_id for bag in bags]
    cases = cases_of([*names, *(slide.slide_id for slide in failed)], table, reporter.note)
    given, unusable = open_slides(bags, model, cases, reporter)
    for doubt in model.doubts(given):
        reporter.warn(doubt)
    if with_cases or model.unit == "case":
        warn_of_unknown(names, cases, reporter)
    if model.unit == "case":
        given, lacking = joined_by_case(given, [*failed, *unusable], cases)
        num_slides = counted(sum(len(each.refs) for each in given), "slide")
        reporter.note(f"by case: {num_slides} are {counted(len(given), 'bag')}, one a patient")
        unusable += lacking
    for slide in unusable:
        _tell_failure(slide, reporter)
    return given, unusable


def _done(given: Sequence[GivenSlide], out: Path, model: SlideModel) -> _Stored:
    found = {slide.refs: read_outputs(out, slide, model.sha256) for slide in given}
    return {refs: stored for refs, stored in found.items() if stored is not None}


def _predict_all(slides: Sequence[GivenSlide], found: Predicted, reporter: Reporter) -> _Stored:
    """Predict slides one by one, while the next one is read."""
    done = {}
    with reporter.task("predicting", len(slides), "slides") as task:
        for given, reading in read_ahead(slides):
            name, path = given.slide.slide_id, given.refs[0].address
            try:
                done[given.refs] = _predict_one(given, reading.result(), found)
            except DiskFullError:
                raise
            except TcssaError as error:
                found.failed.append(FailedSlide.of(name, path, error))
                _tell_failure(found.failed[-1], reporter)
            task.advance()
    return done


def _predict_one(given: GivenSlide, loaded: Loaded, found: Predicted) -> StoredOutputs:
    model = found.model
    outputs = model.predict(loaded.slide)
    if not np.isfinite([outputs.final, *outputs.folds]).all():
        reason = "the model's outputs are not finite numbers"
        raise FeatureFileError(given.refs[0].address, reason)
    remove(map_file(found.folder, given.slide.slide_id))  # it was of other outputs
    return write_outputs(
        found.folder,
        given.slide.slide_id,
        outputs,
        inputs=loaded.inputs,
        model_sha256=model.sha256,
        num_patches=len(loaded.slide.features),
    )


def _tell_failure(failed: FailedSlide, reporter: Reporter) -> None:
    reporter.warn(f"{failed.slide_id} was not predicted: {failed.reason}")


def _write(found: Predicted, pictures: SlidePictures) -> None:
    """Write the tables, the page, and ``prediction.json`` as the last."""
    out = found.folder
    write_slides(out / PREDICTIONS_FILE, found.slides, found.columns)
    if found.cases is not None:
        write_cases(out / CASES_FILE, found.cases, found.columns)
    failures = [[each.slide_id, each.path, each.reason] for each in found.failed]
    if failures:
        atomic.write_csv(out / FAILED_FILE, ["slide_id", "path", "reason"], failures)
    else:
        remove(out / FAILED_FILE)
    facts, failed = found.facts(), found.failed
    columns, slides, cases = found.columns, found.slides, found.cases
    write_prediction_page(out, columns, slides, cases, failed, facts, pictures)
    atomic.write_text(out / PREDICTION_FILE, json.dumps(facts, indent=2) + "\n")
