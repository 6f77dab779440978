"""A sweep: the same cohort trained with every combination of some settings.

Every combination is a run of its own (`tcssa.mil.training.train`), in a process of its own, with
several in parallel. Runs are kept, so an interrupted sweep continues, and grows when values are
added.

::

    SWEEP/
      runs/num_slots=8,seed=0/ …   a run directory each
      sweep.csv                    one row a run: settings, pooled scores, mean and SD over folds
      failed.csv                   combinations that could not be trained, if there are any
      auc_by_slots.png             if K is swept; for other labels the headline instead of auc
      sweep.html                   table and chart on one page
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tcssa.compute import launcher
from tcssa.compute.devices import num_cores
from tcssa.config.settings import validate
from tcssa.errors import TcssaError, UnknownNameError, UsageError
from tcssa.files import atomic
from tcssa.mil.reporting.metric_names import titles
from tcssa.mil.settings import MilSettings
from tcssa.mil.sweep.sweep_result import SweepResult
from tcssa.reporter import Reporter, Silent

if TYPE_CHECKING:
    from tcssa.mil.results.metrics_file import RunMetrics
    from tcssa.mil.tasks import MilTask

Axis = tuple[str, tuple[str, ...]]
"""A setting as ``section.field``, and its values."""

_SECTIONS = ("model", "split", "train")
METHOD = "model.name"
"""The setting that is swept to compare methods."""
_SCORES = ("auc", "balanced_accuracy", "macro_f1", "auprc", "brier")
"""Metrics shown for classes; for other kinds of label all metrics are shown."""
_OF_TCSSA_ONLY = ("train.aux_weight",)


@dataclass(frozen=True)
class Point:
    """One combination of values."""

    values: dict[str, str]
    """Setting to value."""

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return ",".join(f"{_short(name)}={value}" for name, value in self.values.items())


def parse_axis(text: str) -> Axis:
    """Read an axis such as ``num_slots=8,16,32``.

    Dashes may replace underscores, and ``model`` means the method.

    Raises:
        UsageError: The text is not of the form NAME=VALUE,VALUE, or the setting is unknown.
    """
    name, equals, values = text.partition("=")
    found = tuple(dict.fromkeys(value.strip() for value in values.split(",") if value.strip()))
    if not equals or not found:
        raise UsageError(f"--over takes NAME=VALUE,VALUE, got {text!r}")
    return _full_name(name.strip().replace("-", "_")), found


def points(axes: Sequence[Axis]) -> list[Point]:
    """List all combinations, each once: settings of TC-SSA alone are dropped for other methods.

    Raises:
        UsageError: There is no axis, or a setting is given twice.
    """
    names = [name for name, _ in axes]
    if not axes or len(set(names)) < len(names):
        raise UsageError("give each setting to sweep once: --over num_slots=8,16 --over seed=0,1,2")
    found: dict[str, Point] = {}
    for values in itertools.product(*(values for _, values in axes)):
        chosen = dict(zip(names, values, strict=True))
        if chosen.get(METHOD, "tcssa") != "tcssa":
            chosen = {name: value for name, value in chosen.items() if not _is_of_tcssa(name)}
        point = Point(chosen)
        found.setdefault(point.name, point)
    return list(found.values())


def sweep(
    settings: MilSettings,
    axes: Sequence[Axis],
    out: Path,
    reporter: Reporter | None = None,
    *,
    jobs: int = 1,
    of_method: Mapping[str, MilSettings] | None = None,
) -> SweepResult:
    """Train every combination, several at once, and write table and chart.

    Args:
        settings: Settings that all runs share.
        axes: Settings that differ, with their values; see `parse_axis`.
        out: The sweep's folder.
        reporter: Told of progress, and of runs that fail.
        jobs: Number of parallel processes, which share the CPU cores.
        of_method: Settings that replace ``settings`` for these methods, as a preset may have them.

    Raises:
        UsageError: An axis or one of its values is not valid, or a launcher such as torchrun
            started several processes.
    """
    launcher.require_one_process(
        "a sweep starts processes of its own", hint="call it without torchrun, with --jobs"
    )
    reporter = reporter or Silent()
    result = SweepResult(out)
    todo = [
        (point, _settings_of((of_method or {}).get(point.values.get(METHOD, ""), settings), point))
        for point in points(axes)
    ]
    trained: dict[str, _Trained] = {}
    with reporter.task("sweep", len(todo), "runs") as task:
        for name, outcome in _train_all(todo, out / "runs", jobs):
            if isinstance(outcome, str):
                result.failed.append((name, outcome))
                reporter.warn(f"{name} was not trained: {outcome}")
            else:
                trained[name] = outcome
            task.advance()
    if trained:
        result.headline = next(iter(trained.values())).metrics.task.headline
    _tell_warnings(trained, reporter)
    result.rows = [
        _row(point, trained[point.name].metrics) for point, _ in todo if point.name in trained
    ]
    result.failed.sort()
    _write_tables(result, [name for name, _ in axes])
    if result.rows:
        _write_page(result, axes)
    return result


class _Trained(NamedTuple):
    """The outcome of a run that could be trained."""

    metrics: RunMetrics
    warnings: list[str]


def _tell_warnings(trained: Mapping[str, _Trained], reporter: Reporter) -> None:
    """Report the warnings of runs, each once if several runs share it."""
    runs_of: dict[str, list[str]] = {}
    for name in sorted(trained):
        for text in trained[name].warnings:
            runs_of.setdefault(text, []).append(name)
    for text, names in runs_of.items():
        several = f"{len(names)} runs, {names[0]} first" if len(names) > 1 else names[0]
        reporter.warn(f"{several}: {text}")


def _write_page(result: SweepResult, axes: Sequence[Axis]) -> None:
    """Write the page, with the chart if K was swept."""
    from tcssa.mil.sweep.plots import plot_sweep
    from tcssa.mil.sweep.sweep_page import write_sweep_page

    chart = None
    if "model.num_slots" in dict(axes):
        chart = result.chart
        plot_sweep(chart, result.rows, result.headline)
    write_sweep_page(result, [_short(name) for name, _ in axes], chart)


def _train_all(
    todo: Sequence[tuple[Point, MilSettings]], runs: Path, jobs: int
) -> Iterator[tuple[str, _Trained | str]]:
    """Yield the names of runs with their outcome, or the reason for having none, as they end."""
    threads = max(1, num_cores() // jobs)
    # spawn, since torch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures: dict[Future[_Trained | str], str] = {
            pool.submit(_train_one, settings, runs / point.name, threads): point.name
            for point, settings in todo
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _train_one(settings: MilSettings, out: Path, threads: int) -> _Trained | str:
    """Train one run, in a process of its own; return the reason if it could not be trained."""
    import torch

    from tcssa.mil.training.train import train

    torch.set_num_threads(threads)
    told = Silent()
    try:
        return _Trained(train(settings, out, told), told.warnings)
    except TcssaError as error:
        return str(error)


def _settings_of(settings: MilSettings, point: Point) -> MilSettings:
    values = settings.model_dump()
    for name, value in point.values.items():
        section, _, setting = name.partition(".")
        values[section][setting] = value
    return validate(MilSettings, values)


def _row(point: Point, metrics: RunMetrics) -> dict[str, Any]:
    row: dict[str, Any] = {_short(name): value for name, value in point.values.items()}
    for name in _scores(metrics.task):
        pooled, folds = metrics.pooled[name], metrics.over_folds[name]
        row |= {
            name: pooled["value"],
            f"{name}_low": pooled["low"],
            f"{name}_high": pooled["high"],
            f"{name}_fold_mean": folds.mean,
            f"{name}_fold_sd": folds.sd,
        }
    slots = [fold.effective_slots for fold in metrics.folds if fold.effective_slots is not None]
    row["effective_slots"] = sum(slots) / len(slots) if len(slots) == len(metrics.folds) else None
    return row


def _scores(task: MilTask) -> Sequence[str]:
    """Return the names of the metrics of a row, the headline first."""
    from tcssa.mil.tasks.serialization import is_plain

    if is_plain(task):
        return _SCORES
    return list(titles(task.metrics, task.headline))


def _write_tables(result: SweepResult, names: Sequence[str]) -> None:
    settings = [_short(name) for name in names]
    figures = [name for name in (result.rows[0] if result.rows else {}) if name not in settings]
    header = [*settings, *figures]
    rows = [[row.get(name, "") for name in header] for row in result.rows]
    atomic.write_csv(result.out / "sweep.csv", header, rows)
    failed = result.out / "failed.csv"
    if result.failed:
        atomic.write_csv(failed, ["run", "reason"], result.failed)
    else:
        failed.unlink(missing_ok=True)


def _full_name(name: str) -> str:
    known = [
        f"{section}.{setting}"
        for section in _SECTIONS
        for setting in MilSettings.model_fields[section].get_default().__class__.model_fields
    ]
    if name == "model":
        return METHOD
    for full in known:
        if name in (full, full.partition(".")[2]):
            return full
    raise UnknownNameError("setting", name, [full.partition(".")[2] for full in known])


def _short(name: str) -> str:
    return "model" if name == METHOD else name.partition(".")[2]


def _is_of_tcssa(name: str) -> bool:
    return name in _OF_TCSSA_ONLY or (name.startswith("model.") and name != METHOD)
