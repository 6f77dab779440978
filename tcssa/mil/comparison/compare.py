"""Comparison of runs on the same test slides.

Every metric has an interval from a bootstrap by patient, and every run's difference from the first
run has an interval of its own from a *paired* bootstrap: both runs are scored on each sample of
patients, so what makes a patient hard for both cancels out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from tcssa.errors import RunError, UsageError
from tcssa.files import atomic
from tcssa.mil.comparison.comparison import Compared, Comparison
from tcssa.mil.results.finished import read_finished
from tcssa.mil.results.mixed_scales import mixed_scales
from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.tasks import MilTask, Several
from tcssa.mil.tasks.base import Scored
from tcssa.mil.tasks.prediction import Prediction
from tcssa.reporter import Reporter
from tcssa.statistics.intervals import interval
from tcssa.statistics.metrics import (
    BOOTSTRAP_SAMPLES,
    Floats,
    bootstrap,
    resampled,
)

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class _Tested:
    """The test predictions of a run, or of one of its targets, sorted by slide."""

    run: Path
    predictions: list[Prediction]
    task: MilTask
    scored: Scored
    """All predictions as arrays."""
    model: str
    unit: str
    """What its bags are, slides or cases."""

    @property
    def slides(self) -> list[str]:
        """The slide_id of each prediction."""
        return [row.slide_id for row in self.predictions]

    @property
    def cases(self) -> list[str]:
        """The patient of each prediction."""
        return [row.case_id for row in self.predictions]

    def score(self, metric: str, scored: Scored | None = None) -> float | None:
        """Compute a metric of all predictions, or of some; None if it is not defined for them.

        Args:
            metric: Name of a metric of the task.
            scored: The predictions to score; all if None.
        """
        rows = scored or self.scored
        return self.task.metrics[metric](rows.truth, rows.values)

    def fold_scores(self, metric: str) -> list[float]:
        """Compute a metric for each fold; folds for which it is not defined are left out."""
        by_fold: defaultdict[int | None, list[Prediction]] = defaultdict(list)
        for row in self.predictions:
            by_fold[row.fold].append(row)
        scores = [self.score(metric, self.task.scored(rows)) for rows in by_fold.values()]
        return [score for score in scores if score is not None]


def compare(
    runs: Sequence[Path],
    metric: str | None,
    reporter: Reporter,
    *,
    target: str | None = None,
    out: Path | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare finished runs of ``tcssa train-mil``.

    Args:
        runs: Run directories, two or more; the others are compared with the first.
        metric: A metric of the runs' kind of label; None takes the headline metric.
        reporter: Told of progress, and warned of pooled figures that are below the folds' own.
        target: The target to compare, for runs with several; None takes the mean over them.
        out: Folder for ``comparison.json``, the forest plot and a page with both; None writes
            nothing.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: There are fewer than two runs, a run is given twice, or the metric or the target
            is unknown.
        RunError: A run is not finished, or its test slides, labels or patients differ from those
            of the first run.
    """
    if len(runs) < 2 or len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("give two or more different runs to compare")
    tested = [_read(run, target) for run in runs]
    first = tested[0]
    metric = metric or first.task.headline
    if metric not in first.task.metrics:
        raise UsageError(
            f"unknown metric {metric!r}", hint=f"known: {', '.join(first.task.metrics)}"
        )
    for other in tested[1:]:
        _require_same_slides(first, other)
    samples = resampled(first.scored.cases, seed)
    drawn = []
    with reporter.task("bootstrap", total=len(tested), unit="runs") as task:
        for run in tested:
            rows = run.scored
            drawn.append(bootstrap(run.task.metrics[metric], rows.truth, rows.values, samples))
            task.advance()
    names = _short_names(runs)
    compared = [
        _compared(name, run, first, metric, values, drawn[0])
        for name, run, values in zip(names, tested, drawn, strict=True)
    ]
    for each in compared:
        if mixed := mixed_scales(metric, each.score["value"], each.fold_mean):
            reporter.warn(f"{each.name}: {mixed}")
    shown = metric if target is None else f"{target}: {metric}"
    comparison = Comparison(shown, len(first.slides), len(set(first.cases)), compared)
    if out is not None:
        _write(comparison, out)
    return comparison


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain data."""
    return {**vars(comparison), "runs": [vars(run) for run in comparison.runs]}


def _read(run: Path, target: str | None) -> _Tested:
    trained = read_finished(run)
    task = trained.task
    rows = read_predictions(run / "predictions.csv", task)
    rows.sort(key=lambda row: row.slide_id)
    if target is not None:
        if not isinstance(task, Several) or target not in task.tasks:
            known = ", ".join(task.tasks) if isinstance(task, Several) else "one label alone"
            raise UsageError(f"{run} has no target {target!r}", hint=f"it has {known}")
        rows, task = task.views(rows)[target], task.tasks[target]
        if not rows:
            raise RunError(run, f"target {target!r} is not known for any test slide")
    settings = trained.settings
    return _Tested(run, rows, task, task.scored(rows), settings.model.name, settings.cohort.unit)


def _require_same_slides(first: _Tested, other: _Tested) -> None:
    if first.task != other.task:
        raise RunError(
            other.run,
            f"learnt {other.task.sentence()}; {first.run}: {first.task.sentence()}",
            hint="compare runs on one label",
        )
    if first.unit != other.unit:
        raise RunError(
            other.run,
            f"was trained by {other.unit}, {first.run} by {first.unit}",
            hint="compare runs of one --unit",
        )
    differing = sorted(set(first.slides) ^ set(other.slides))
    if not differing and first.slides != other.slides:
        raise RunError(
            other.run,
            f"tested its slides another number of times than {first.run}",
            hint="compare runs of the same --repeats, or of the same official splits",
        )
    if differing:
        raise RunError(
            other.run,
            f"{len(differing)} test slides are not those of {first.run}: "
            f"{', '.join(differing[:5])}",
            hint="compare runs on one cohort",
        )
    changed = [
        one.slide_id
        for one, two in zip(first.predictions, other.predictions, strict=True)
        if one.truth != two.truth
    ]
    if changed or first.cases != other.cases:
        what = f"labels differ: {', '.join(changed[:5])}" if changed else "patients differ"
        raise RunError(
            other.run, f"its {what} from {first.run}", hint="train both on one label table"
        )


def _compared(
    name: str, run: _Tested, first: _Tested, metric: str, drawn: Floats, drawn_first: Floats
) -> Compared:
    value = run.score(metric)
    difference, p_value = None, None
    if run is not first:
        base = first.score(metric)
        apart = None if value is None or base is None else value - base
        differences = drawn - drawn_first
        difference = interval(apart, differences)
        if difference["low"] is not None:
            p_value = _p_value(differences[~np.isnan(differences)])
    known = run.fold_scores(metric)
    return Compared(
        name=name,
        model=run.model,
        score=interval(value, drawn),
        difference=difference,
        p_value=p_value,
        fold_mean=mean(known) if known else None,
        fold_sd=stdev(known) if len(known) > 1 else None,
    )


def _p_value(differences: Floats) -> float:
    """Return twice the share of samples on the smaller side of zero, at least 1 / samples."""
    smaller = min((differences <= 0).mean(), (differences >= 0).mean())
    return float(min(1.0, max(2 * smaller, 1 / BOOTSTRAP_SAMPLES)))


def _short_names(runs: Sequence[Path]) -> list[str]:
    """Return the runs' folder names, or their whole paths if two have the same name."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _write(comparison: Comparison, out: Path) -> None:
    from tcssa.mil.comparison.compare_page import write_comparison_page
    from tcssa.mil.comparison.plots import plot_comparison

    out.mkdir(parents=True, exist_ok=True)
    plot_comparison(out / "comparison.png", comparison)
    write_comparison_page(out, comparison, out / "comparison.png")
    text = json.dumps(as_json(comparison), indent=2)
    atomic.write_text(out / COMPARISON_FILE, text + "\n")
