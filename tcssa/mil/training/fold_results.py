"""Results of a fold that is trained and tested, and of all folds together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tcssa.errors import RunError
from tcssa.files import atomic
from tcssa.mil.calibration.calibration import calibrate
from tcssa.mil.calibration.figures import with_decisions
from tcssa.mil.calibration.record import Calibrations
from tcssa.mil.classifier.classifiers import MethodFacts, save_classifier
from tcssa.mil.cohort.cohort import Cohort
from tcssa.mil.cohort.site_confounding import SiteConfound
from tcssa.mil.reporting.metric_names import written
from tcssa.mil.results.history import Epoch, write_history
from tcssa.mil.results.metrics_file import (
    METRICS_FILE,
    FinalModel,
    FoldScores,
    RunMetrics,
    Spread,
    read_fold_metrics,
)
from tcssa.mil.results.prediction_tables import read_predictions, write_predictions
from tcssa.mil.settings import MilSettings
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.tasks.serialization import task_facts
from tcssa.mil.training import plots
from tcssa.mil.training.fit import PROGRESS_FILE, FoldFit
from tcssa.reporter import Reporter
from tcssa.run import CHECKPOINT_FILE

VALIDATION_FILE = "validation.csv"
"""Predictions of a fold's validation slides, by the epoch that was chosen on them."""


@dataclass(frozen=True)
class FoldResult:
    """The result of a fold that is trained and tested."""

    index: int
    epochs: list[Epoch]
    best_epoch: int
    val: list[Prediction]
    test: list[Prediction]
    scores: dict[str, float | None]
    """Metrics of the test part."""
    calibration: Calibrations
    """Threshold and temperature, from the validation part."""

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest validation loss."""
        return self.epochs[self.best_epoch]


def write_fold(result: FoldResult, fit: FoldFit, folder: Path, reporter: Reporter) -> None:
    """Write the files of a fold, ``metrics.json`` last, and remove its training checkpoint.

    Args:
        result: Epochs, test predictions and scores of the fold.
        fit: The training, with the model that was chosen.
        folder: The fold's folder.
        reporter: Told of the epoch that was kept and its scores.
    """
    cohort = fit.cohort
    save_model(fit, folder)
    write_history(folder, result.epochs)
    write_predictions(folder / VALIDATION_FILE, result.val, cohort.task)
    write_predictions(folder / "predictions.csv", result.test, cohort.task)
    headline = cohort.task.headline
    score = result.scores[headline]
    reporter.note(
        f"fold {result.index}: epoch {result.best_epoch} of {len(result.epochs)} kept, "
        f"validation loss {result.best.val_loss:.3f}, test {written(headline)} "
        f"{'undefined' if score is None else f'{score:.3f}'}"
    )
    if fit.nested is not None:
        kept = fit.nested.compressor.config.auto_share
        reporter.note(
            f"fold {result.index}: --budget auto keeps {kept:.0%} of the variance between slots"
        )
    content = {
        "best_epoch": result.best_epoch,
        "epochs": [epoch.model_dump() for epoch in result.epochs],
        "test": result.scores,
        "calibration": _plain(result.calibration),
    }
    atomic.write_text(folder / METRICS_FILE, json.dumps(content) + "\n")
    (folder / PROGRESS_FILE).unlink(missing_ok=True)


def save_model(fit: FoldFit, folder: Path) -> None:
    """Write the model of a training, with what it was built from.

    Args:
        fit: The training, with the model that was chosen.
        folder: Folder of the checkpoint.
    """
    facts = MethodFacts(
        name=fit.settings.model.name,
        feature_dim=fit.cohort.feature_dim,
        classes=fit.task.outputs,
        encoder=fit.cohort.encoder,
        task=task_facts(fit.task).get("task"),
    )
    save_classifier(fit.model, folder / CHECKPOINT_FILE, facts)


def read_fold(folder: Path, index: int, task: MilTask) -> FoldResult:
    """Read the result that `write_fold` wrote.

    Args:
        folder: The fold's folder.
        index: Number of the fold.
        task: The kind of label of the run.

    Raises:
        RunError: The fold's ``metrics.json`` is damaged or lacks a metric of the task.
        TableError: A table of the fold's predictions is damaged.
    """
    noted = read_fold_metrics(folder)
    if missing := [name for name in task.metrics if name not in noted.test]:
        raise RunError(folder / METRICS_FILE, f"lacks {', '.join(missing)}")
    val, test = (
        read_predictions(folder / name, task) for name in (VALIDATION_FILE, "predictions.csv")
    )
    return FoldResult(
        index, noted.epochs, noted.best_epoch, val, test, noted.test, noted.calibration
    )


def _plain(calibration: Calibrations) -> dict[str, dict[str, Any]]:
    return {name: one.model_dump() for name, one in calibration.items()}


def sum_up(
    results: Sequence[FoldResult],
    cohort: Cohort,
    settings: MilSettings,
    confounds: Mapping[str, SiteConfound],
    out: Path,
    final: FinalModel | None = None,
) -> RunMetrics:
    """Pool the test slides of all folds; write metrics, predictions and plots.

    Args:
        results: The results of all folds.
        cohort: The cohort of the run.
        settings: The settings of the run.
        confounds: Confounding by site for each target; see `site_confounds`.
        out: The run directory.
        final: The final model, if there is one.
    """
    task = cohort.task
    predictions = [row for result in results for row in result.test]
    seed, rule = settings.train.seed, settings.train.threshold
    pooled = with_decisions(
        task.score(predictions, seed=seed),
        task,
        predictions,
        lambda fold: {} if fold is None else results[fold].calibration,
        seed=seed,
    )
    val = [row for result in results for row in result.val]
    lookups = {target: asdict(confound) for target, confound in confounds.items()}
    metrics = RunMetrics(
        task=task,
        pooled=pooled,
        over_folds={name: _spread([r.scores[name] for r in results]) for name in task.metrics},
        site_lookup=lookups.get("", lookups) or None,
        folds=[_scores_of(result, task) for result in results],
        final=final,
        calibration=calibrate(task, val, rule, lambda fault: None),  # told fold by fold
    )
    write_predictions(out / "predictions.csv", predictions, task)
    task.draw(out / "plots", predictions, pooled)
    plots.plot_training(
        out / "plots" / "training.png", [r.epochs for r in results], settings.model.top_k
    )
    if uses := [result.best.slots for result in results if result.best.slots]:
        plots.plot_utilisation(out / "plots" / "utilisation.png", uses)
    atomic.write_text(out / METRICS_FILE, json.dumps(metrics.to_dict(), indent=2) + "\n")
    return metrics


def _scores_of(result: FoldResult, task: MilTask) -> FoldScores:
    best = result.best
    return FoldScores(
        fold=result.index,
        best_epoch=result.best_epoch,
        val_loss=best.val_loss,
        val_scores=best.val_scores,
        effective_slots=best.slots.effective_slots if best.slots else None,
        test={name: result.scores[name] for name in task.metrics},
        num_test_slides=len(result.test),
        calibration=result.calibration,
    )


def _spread(scores: Sequence[float | None]) -> Spread:
    known = [score for score in scores if score is not None]
    return Spread(mean=mean(known) if known else None, sd=stdev(known) if len(known) > 1 else None)
