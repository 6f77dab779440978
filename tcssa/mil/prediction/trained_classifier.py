"""A finished run as an object that classifies slides one at a time, for notebooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tcssa.compute.devices import resolve_device
from tcssa.errors import FeatureFileError
from tcssa.features import Bag, BagRef
from tcssa.hub import local_model
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classify_bags import predict
from tcssa.mil.classifier.final_model import load_final
from tcssa.mil.prediction.doubts import doubts_about
from tcssa.mil.prediction.given_slides import open_slide
from tcssa.mil.prediction.predicted_rows import Columns
from tcssa.mil.results.finished import read_finished
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.reporter import Printed, Reporter


@dataclass(frozen=True)
class SlidePrediction:
    """A run's prediction of one slide."""

    slide_id: str
    probabilities: dict[str, float]
    """By class or grade; of several targets by target and class (``grade_prob_high``); of survival
    those of outliving each span (``survival_1``). Of labels that are numbers there is none, but the
    number itself (``predicted``)."""
    decisions: dict[str, str]
    """What follows from them: ``predicted``, the class or grade, one of each of several targets
    (``grade_predicted``); of survival ``risk``; none of a number."""
    calibrated: dict[str, float] = field(default_factory=dict)
    """The probabilities scaled by the run's temperature, as ``tcssa predict --calibrated`` shows
    them; unscaled where the run has none."""
    at_thresholds: dict[str, str] = field(default_factory=dict)
    """The class at the run's threshold: ``at_threshold``, of each of several targets of two classes
    ``ER_at_threshold``; empty without such."""

    @property
    def at_threshold(self) -> str | None:
        """The class at the run's threshold; of several targets all, in order; None without one."""
        return ", ".join(self.at_thresholds.values()) or None

    @property
    def predicted(self) -> str:
        """The predicted class, grade, risk or number; of several targets all classes, in order."""
        return ", ".join(self.decisions.values() or map(str, self.probabilities.values()))


class TrainedClassifier:
    """The final model of a finished run; see `load_classifier`.

    Args:
        run: The run directory.
        device: Device to predict on.
        model: The run's method, if it is the user's own code.
        reporter: Warned of what is doubtful about a slide: its patient was trained on, its patches
            are of another width, its file does not name the encoder of its features.
    """

    def __init__(self, run: Path, device: str, model: str | None, reporter: Reporter) -> None:
        self._run, self._reporter = read_finished(local_model(run, reporter)), reporter
        self._device = resolve_device(device)
        self._model = load_final(self._run, model).to(self._device)
        self.task = self._model.task
        self._columns = Columns(self.task, read_metrics(self._run.folder).calibration)
        self._doubts: set[str] = set()

    def predict(self, bag: Bag | BagRef | Path | str) -> SlidePrediction:
        """Predict one slide, as ``tcssa eval`` predicts those of a new cohort.

        Args:
            bag: Its feature file, or what `open_bag` returned; the features are read from the file.

        Raises:
            FeatureFileError: The file cannot be read, or holds no patches.
            FeatureDimError: The features are of another length than the run's.
            UsageError: The features are of another encoder than the run's.
            NonFiniteFeatureError: A feature is NaN or infinite.
            MissingDataError: The method reads coordinates, and the file has none.
        """
        ref = bag.ref if isinstance(bag, Bag) else bag
        ref = ref if isinstance(ref, BagRef) else BagRef.parse(ref)
        given, encoder = open_slide(ref, self._run, {})
        if given is None:
            raise FeatureFileError(ref.address, "holds no patches")
        for doubt in doubts_about(self._run, [given]):
            if doubt not in self._doubts:  # what holds of all slides is said once
                self._doubts.add(doubt)
                self._reporter.warn(doubt)
        if self._run.encoder and not encoder:
            self._reporter.warn(
                f"{ref.address} does not name the encoder of its features; "
                f"taken to be of {self._run.encoder}"
            )
        store = BagStore(0, half=self._run.is_rounded)
        precision = self._run.settings.train.precision
        (found,) = predict(self._model, [given.slide], store, self._device, precision)
        names = [column.removeprefix("prob_") for column in self.task.value_columns]
        cells = map(str, self.task.decision_cells(found.probs))
        return SlidePrediction(
            ref.slide_id,
            dict(zip(names, found.probs, strict=True)),
            dict(zip(self.task.decision_columns, cells, strict=True)),
            dict(zip(names, self._columns.scaled(found.probs), strict=True)),
            self._columns.classes_at(found.probs),
        )


def load_classifier(
    run: Path | str,
    *,
    device: str = "auto",
    model: str | None = None,
    reporter: Reporter | None = None,
) -> TrainedClassifier:
    """Load the model with which a finished run predicts new slides.

    It is the one trained on all patients, or the mean of the folds' logits.

    Args:
        run: The run directory of ``tcssa train-mil`` or `tcssa.train`, or its address on the hub,
            ``hf:owner/name`` with or without ``@revision``.
        device: Device to predict on; auto takes a GPU if there is one.
        model: The run's method, if it is the user's own code (``module:factory``).
        reporter: Receives warnings; None prints them.

    Raises:
        RunError: The run is not finished, or a file of it is damaged.
        CheckpointError: A checkpoint is damaged, or names code that ``model`` does not name.
        DeviceError: The device is not available.
        HubError: The run is not on the hub, or is not the one that was pushed.
    """
    return TrainedClassifier(Path(run), device, model, reporter or Printed())
