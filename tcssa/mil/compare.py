"""Runs side by side, on the same test slides.

Every figure has an interval by patient, and every run's difference from the first one has an
interval of its own from a *paired* bootstrap: each sample of patients scores both runs, so what
makes a patient hard for both cancels out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from tcssa import atomic
from tcssa.errors import RunError, UsageError
from tcssa.intervals import Score, interval
from tcssa.mil.metrics import (
    BOOTSTRAP_SAMPLES,
    METRICS,
    Floats,
    Ints,
    bootstrap,
    resampled,
)
from tcssa.mil.predictions import as_arrays, read_predictions
from tcssa.mil.train import KIND, read_metrics
from tcssa.reporter import Reporter
from tcssa.run import read_run
from tcssa.settings import RESOLVED_FILE, read_yaml

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class Compared:
    """One run among others."""

    name: str
    model: str
    score: Score
    difference: Score | None
    """From the first run; None for that one itself."""
    p_value: float | None
    """Two-sided, of that difference; None where it has no interval."""
    fold_mean: float | None
    fold_sd: float | None
    """Over the run's folds: how much training sets differ, not how sure the figure is."""


@dataclass(frozen=True)
class Comparison:
    """Runs compared by one metric."""

    metric: str
    num_slides: int
    num_cases: int
    runs: list[Compared]


@dataclass(frozen=True)
class _Tested:
    """The test predictions of a run, sorted by slide."""

    run: Path
    slides: list[str]
    labels: Ints
    probs: Floats
    cases: list[str]
    model: str
    folds: list[dict[str, Any]]


def compare(
    runs: Sequence[Path], metric: str, reporter: Reporter, *, out: Path | None = None, seed: int = 0
) -> Comparison:
    """Compare finished runs of ``tcssa train-mil``.

    Args:
        runs: Two or more; the others are compared with the first.
        metric: One of `tcssa.mil.metrics.METRICS`.
        reporter: Is told of progress.
        out: Folder for ``comparison.json``, the forest plot and a page with both, if wanted.
        seed: Of the bootstrap.

    Raises:
        UsageError: Fewer than two runs, the same twice, or an unknown metric.
        RunError: A run is not finished, or its test slides, labels or patients are others.
    """
    if len(runs) < 2 or len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("give two or more different runs to compare")
    if metric not in METRICS:
        raise UsageError(f"unknown metric {metric!r}", hint=f"known: {', '.join(METRICS)}")
    tested = [_read(run) for run in runs]
    for other in tested[1:]:
        _require_same_slides(tested[0], other)
    first = tested[0]
    samples = resampled(first.cases, seed)
    drawn = []
    with reporter.task("bootstrap", total=len(tested), unit="runs") as task:
        for run in tested:
            drawn.append(bootstrap(METRICS[metric], run.labels, run.probs, samples))
            task.advance()
    names = _short_names(runs)
    compared = [
        _compared(name, run, first, metric, values, drawn[0])
        for name, run, values in zip(names, tested, drawn, strict=True)
    ]
    comparison = Comparison(metric, len(first.slides), len(set(first.cases)), compared)
    if out is not None:
        _write(comparison, out)
    return comparison


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data."""
    return {**vars(comparison), "runs": [vars(run) for run in comparison.runs]}


def _read(run: Path) -> _Tested:
    content = read_run(run)
    if content.get("kind") != KIND or not content.get("complete"):
        raise RunError(run, "is no finished run of train-mil", hint="give finished runs")
    metrics = read_metrics(run)
    rows = read_predictions(run / "predictions.csv", metrics["classes"])
    rows.sort(key=lambda row: row.slide_id)
    labels, probs, cases = as_arrays(rows)
    settings = read_yaml(run / RESOLVED_FILE)
    return _Tested(
        run,
        [row.slide_id for row in rows],
        labels,
        probs,
        cases,
        settings.get("model", {}).get("name", "tcssa"),
        metrics["folds"],
    )


def _require_same_slides(first: _Tested, other: _Tested) -> None:
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
        slide
        for slide, one, two in zip(first.slides, first.labels, other.labels, strict=True)
        if one != two
    ]
    if changed or first.cases != other.cases:
        what = f"labels differ: {', '.join(changed[:5])}" if changed else "patients differ"
        raise RunError(
            other.run, f"its {what} from {first.run}", hint="train both on one label table"
        )


def _compared(
    name: str, run: _Tested, first: _Tested, metric: str, drawn: Floats, drawn_first: Floats
) -> Compared:
    value = METRICS[metric](run.labels, run.probs)
    difference, p_value = None, None
    if run is not first:
        base = METRICS[metric](first.labels, first.probs)
        apart = None if value is None or base is None else value - base
        differences = drawn - drawn_first
        difference = interval(apart, differences)
        if difference["low"] is not None:
            p_value = _p_value(differences[~np.isnan(differences)])
    folds = [fold["test"].get(metric) for fold in run.folds]
    known = [score for score in folds if score is not None]
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
    """Twice the share of samples on the smaller side of zero; not below what B samples resolve."""
    smaller = min((differences <= 0).mean(), (differences >= 0).mean())
    return float(min(1.0, max(2 * smaller, 1 / BOOTSTRAP_SAMPLES)))


def _short_names(runs: Sequence[Path]) -> list[str]:
    """Folder names, or whole paths where two have one name."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _write(comparison: Comparison, out: Path) -> None:
    from tcssa.mil.compare_page import write_comparison_page
    from tcssa.mil.plots import plot_comparison

    out.mkdir(parents=True, exist_ok=True)
    plot_comparison(out / "comparison.png", comparison)
    write_comparison_page(out, comparison, out / "comparison.png")
    text = json.dumps(as_json(comparison), indent=2)
    atomic.write_text(out / COMPARISON_FILE, text + "\n")
