"""Evaluation of a run on its own test slides, or on a cohort it has never seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tcssa.compute.devices import resolve_device
from tcssa.errors import FeatureDimError, RunError, SplitError, UsageError, counted
from tcssa.features.patch_widths import other_width
from tcssa.files import atomic
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.calibration.figures import with_decisions
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.classifier.classify_bags import predict
from tcssa.mil.classifier.final_model import fold_checkpoints, load_final
from tcssa.mil.cohort.cohort import Cohort, listed, read_cohort
from tcssa.mil.cohort.split_files import Parts, read_parts
from tcssa.mil.cohort.splits import SPLITS_FILE, read_split_cases
from tcssa.mil.evaluation.evaluation_page import write_evaluation_page
from tcssa.mil.evidence import Reference
from tcssa.mil.methods import BagClassifier
from tcssa.mil.results.finished import FinishedRun, read_finished
from tcssa.mil.results.metrics_file import METRICS_FILE, read_metrics
from tcssa.mil.results.prediction_tables import write_predictions
from tcssa.mil.review.pictures import Pictures
from tcssa.mil.review.review import PICTURES_FOLDER, review
from tcssa.mil.settings import CohortSettings
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.tasks.serialization import task_facts
from tcssa.reporter import Reporter

_PREDICTED_BY = {"refit": "final model", "ensemble": "mean of folds", "none": "mean of folds"}


@dataclass(frozen=True)
class Evaluation:
    """The folder of an evaluation, the kind of label, and the metrics."""

    folder: Path
    task: MilTask
    metrics: dict[str, Any]


def evaluate(
    run: Path,
    reporter: Reporter,
    *,
    labels: Path | None = None,
    features: Path | None = None,
    out: Path | None = None,
    device: str = "auto",
    allow_overlap: bool = False,
    label_column: str | None = None,
    case_column: str | None = None,
    slide_column: str | None = None,
    slide_table: Path | None = None,
    skip_missing: bool = False,
    model: str | None = None,
) -> Evaluation:
    """Predict and score with the models of a run.

    Without a new cohort, every test slide is predicted again by the fold that did not know it.
    A new cohort is predicted by the final model: the one trained on all patients, or the mean of
    the folds' logits. Features without labels are those of the run's own cohort, which moved.

    Args:
        run: The directory of a finished run.
        reporter: Told of progress.
        labels: Label table of a new cohort.
        features: Folder of the new cohort's features; without ``labels``, where the run's own are.
        out: Folder to write to; one below the run if not given.
        device: Device to predict on.
        allow_overlap: Score a new cohort even if it shares patients with the run's own.
        label_column: Column of the label, if it has an unusual name.
        case_column: Column of the patient, if it has an unusual name.
        slide_column: Column of the slide, if it has an unusual name.
        slide_table: Table of each patient's slides, where labels are of patients.
        skip_missing: Leave out slides of the new cohort without features or a label that the run
            knows, and name them.
        model: The run's method, if it is the user's own code (``module:factory``).

    Raises:
        RunError: The run is not finished, a file of it is damaged, or its own labels or features
            have changed.
        UsageError: Labels are given without features, or the new features are of another encoder.
        CheckpointError: A checkpoint is damaged, or names code that ``model`` does not name.
        SplitError: The new cohort shares patients with the run's own, which is not allowed.
        FeatureDimError: The new features are of another length.
    """
    trained = read_finished(run)
    models = _Models(trained, _parts(trained), model, resolve_device(device), reporter)
    if labels is None:
        own = _own_cohort(trained, features)
        return _write(out or run / "eval", models, own, models.predict_test(own))
    columns = {"label_column": label_column, "case_column": case_column}
    columns |= {"slide_column": slide_column}
    data = _new_data(trained, labels, features, slide_table, columns, skip_missing)
    cohort, remarks = _read_new_cohort(data, models, allow_overlap)
    folder = out or run / f"eval-{labels.stem}-{cohort.labels_sha256[:8]}"
    return _write(folder, models, cohort, models.predict_new(cohort), labels, remarks)


def _own_cohort(trained: FinishedRun, features: Path | None) -> Cohort:
    """Read the run's own cohort, of which the test slides are predicted again.

    Raises:
        RunError: It is not known, as of a run that was shared, or has changed.
    """
    if trained.is_published:
        raise RunError(
            trained.folder,
            "was shared without its splits, so its own test slides are not known",
            hint="give a new cohort: --labels and --features",
        )
    return read_own_cohort(trained, features)


def _new_data(
    trained: FinishedRun,
    labels: Path,
    features: Path | None,
    slide_table: Path | None,
    columns: Mapping[str, str | None],
    skip_missing: bool,
) -> CohortSettings:
    """Return the settings of a new cohort: the run's own, but for what is given.

    Raises:
        UsageError: It has no features.
    """
    if features is None:
        raise UsageError(
            "a new cohort needs both --labels and --features",
            hint="--features alone says where the run's own features are now",
        )
    given = {name: column for name, column in columns.items() if column}
    own = {"labels": labels, "features": features, "slide_table": slide_table}
    return trained.settings.cohort.model_copy(update={**own, **given, "skip_missing": skip_missing})


def _parts(trained: FinishedRun) -> list[Parts]:
    """Read the parts of each fold, which a run that was shared does not say."""
    return [] if trained.is_published else read_parts(trained.folder / SPLITS_FILE)


@dataclass(frozen=True)
class _Models:
    """The classifiers of a finished run, one of each fold, and how they predict."""

    trained: FinishedRun
    folds: list[Parts]
    model: str | None
    """The method, if it is the user's own code."""
    device: torch.device
    reporter: Reporter

    def predict_test(self, cohort: Cohort) -> list[Prediction]:
        """Predict every test slide with the model of the fold that did not train on it."""
        predictions = []
        paths = fold_checkpoints(self.trained)
        with self.reporter.task("predicting", len(self.folds), "folds") as task:
            for index, (parts, path) in enumerate(zip(self.folds, paths, strict=True)):
                tested = [slide for slide in cohort.slides if parts.get(slide.slide_id) == "test"]
                predict_with = self._predictor(load_classifier(path, self.model))
                predictions += predict_with(cohort.bags(tested), fold=index)
                task.advance()
        return predictions

    def predict_new(self, cohort: Cohort) -> list[Prediction]:
        """Predict slides with the final model."""
        return self._predictor(load_final(self.trained, self.model))(cohort.bags(cohort.slides))

    def pictures(self, folder: Path, cohort: Cohort) -> Pictures:
        """Return what draws slides with the evidence of the model that predicted them."""

        def load(fold: int | None) -> BagClassifier:
            if fold is None:
                return load_final(self.trained, self.model)
            return load_classifier(fold_checkpoints(self.trained)[fold], self.model)

        slides = {bag.slide_id: bag for bag in cohort.bags(cohort.slides)}
        store = BagStore(0, half=self.trained.is_rounded)
        reference = Reference.read(self.trained.folder, self.trained.task)
        return Pictures(folder, slides, load, store, self.device, self.reporter, reference)

    def _predictor(self, model: BagClassifier) -> Callable[..., list[Prediction]]:
        """Return `predict` with a classifier of the run."""
        # a run trained on rounded features is tested on such
        store = BagStore(0, half=self.trained.is_rounded)
        precision, device = self.trained.settings.train.precision, self.device
        return partial(predict, model.to(device), store=store, device=device, precision=precision)


def _write(
    folder: Path,
    models: _Models,
    cohort: Cohort,
    predictions: Sequence[Prediction],
    labels: Path | None = None,
    remarks: Sequence[str] = (),
) -> Evaluation:
    """Score predictions, and write them with plots and page; ``labels`` are of a new cohort."""
    trained, task, seed = models.trained, cohort.task, models.trained.settings.train.seed
    training = read_metrics(trained.folder)
    pooled = with_decisions(
        task.score(predictions, seed=seed), task, predictions, training.calibration_of, seed=seed
    )
    metrics = {
        **task_facts(task),
        "pooled": pooled,
        "skipped": cohort.skipped,
        "readings": cohort.readings,
        "unit": cohort.unit,
        **_origins(trained, cohort, labels),
    }
    write_predictions(folder / "predictions.csv", predictions, task)
    task.draw(folder, predictions, metrics["pooled"])
    found = review(folder, task, predictions, models.pictures(folder / PICTURES_FOLDER, cohort))
    of_new = None if labels is None else training
    write_evaluation_page(folder, task, metrics, of_new, remarks, found)
    atomic.write_text(folder / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")  # the last
    return Evaluation(folder, task, metrics)


def _origins(trained: FinishedRun, cohort: Cohort, labels: Path | None) -> dict[str, Any]:
    """Return the origin of the metrics: the run, the slides, and how these were predicted."""
    own, run, settings = labels is None, trained.folder, trained.settings
    return {
        "predicted_by": "own fold" if own else _PREDICTED_BY[settings.train.final],
        "run": {
            "name": run.resolve().name,
            "folder": str(run.resolve()),
            "model": settings.model.name,
            "folds": len(read_metrics(run).folds),
            "checkpoint_sha256": trained.checkpoint_sha256,
        },
        "labels": str(settings.cohort.labels if labels is None else labels.resolve()),
        "cohort": cohort.fingerprint(),
    }


def read_own_cohort(trained: FinishedRun, features: Path | None = None) -> Cohort:
    """Read the cohort that a run was trained on, from the paths in its settings.

    Args:
        trained: The run.
        features: Where its features are now, if they were moved.

    Raises:
        RunError: Labels or features differ from those the run was trained on.
        TcssaError: Labels or features cannot be read; see `read_cohort`.
    """
    settings = trained.settings.cohort
    if features is not None:
        settings = settings.model_copy(update={"features": features})
    cohort = read_cohort(settings)
    with_places = trained.settings.model.spatial is not None
    if cohort.fingerprint(with_places=with_places) != trained.fingerprint:
        raise RunError(
            trained.folder,
            "its labels or features are not the ones it was trained on",
            hint="restore them, say where they are now with --features alone, or give a new cohort "
            "with --labels and --features",
        )
    return cohort


def _read_new_cohort(
    data: CohortSettings, models: _Models, allow_overlap: bool
) -> tuple[Cohort, list[str]]:
    """Read a new cohort and check that the run can predict it; also return the warnings given."""
    trained, reporter = models.trained, models.reporter
    cohort = read_cohort(data, task=trained.task)
    for reading in cohort.readings:
        reporter.note(reading)
    remarks = list(cohort.unknown_labels())
    if cohort.skipped:
        remarks.insert(
            0, f"{counted(len(cohort.skipped), 'slide')} left out: {listed(cohort.skipped)}"
        )
    for remark in remarks:
        reporter.warn(remark)
    if cohort.feature_dim != trained.feature_dim:
        raise FeatureDimError(cohort.slides[0].path, trained.feature_dim, cohort.feature_dim)
    if cohort.encoder and trained.encoder and cohort.encoder != trained.encoder:
        raise UsageError(
            f"the run was trained on features of {trained.encoder!r}, these are of "
            f"{cohort.encoder!r}",
            hint=f"extract the slides with --encoder {trained.encoder}",
        )
    widths = {slide.slide_id: cohort.patch_um.get(slide.slide_id) for slide in cohort.slides}
    if other := other_width(trained.extraction.patch_um, widths):
        remarks.append(other)
        reporter.warn(other)
    if trained.is_published:
        remarks.append(
            "the run was shared without its patients: whether some of this cohort are among them "
            "is not checked"
        )
        reporter.warn(remarks[-1])
        return cohort, remarks
    cases = read_split_cases(trained.folder / SPLITS_FILE)
    slides = {name for parts in models.folds for name in parts}
    shared = sorted(
        {s.case_id for s in cohort.slides if s.case_id in cases or s.slide_id in slides}
    )
    trained_on = f"the run was trained on {counted(len(shared), 'patient')}"
    if shared and not allow_overlap:
        raise SplitError(
            f"{trained_on} of this cohort: {', '.join(shared[:5])}",
            hint="leave them out of the labels; --allow-overlap scores them all the same",
        )
    if shared:
        remarks.append(f"{trained_on} of this cohort: the figures are no test")
        reporter.warn(remarks[-1])
    return cohort, remarks
