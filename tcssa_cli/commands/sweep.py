"""`tcssa sweep`: train a cohort with every combination of some settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tcssa.config.presets import named_defaults
from tcssa.config.settings import resolve
from tcssa.errors import counted
from tcssa.mil.reporting.metric_names import written
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings
from tcssa.mil.sweep.sweep_result import SweepResult
from tcssa_cli.options import (
    DATA_PANEL,
    ConfigFile,
    DataRootOption,
    DatasetOption,
    DebugFlag,
    JsonFlag,
    method_names,
    out_option,
)
from tcssa_cli.output import Output, make_table, show_failures
from tcssa_cli.settings_flags import Flags, with_flags


@with_flags(
    Flags(CohortSettings, at="cohort", panel=DATA_PANEL, names=["labels", "features"]),
    Flags(TrainSettings, at="train", panel=DATA_PANEL, names=["feature_cache"]),
    Flags(
        ModelSettings,
        at="model",
        names=["name"],
        spelled={"name": "--model"},
        completed={"name": method_names},
    ),
)
def sweep(
    over: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=V,V,…",
            help="Setting of train-mil and its values; repeat it for more settings.",
        ),
    ],
    out: Annotated[Path, out_option("Folder of the sweep.")],
    flags: dict[str, Any],
    dataset: DatasetOption = None,
    data_root: DataRootOption = None,
    jobs: Annotated[
        int, typer.Option(min=1, metavar="<int>", help="Runs side by side; they share cores.")
    ] = 1,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train every combination of some settings on the same folds: a table, and AUC against K.

    For labels that are not classes (cohort.kind, cohort.targets in --config), the figure of that
    kind takes the place of AUC.

    All other settings come from --config, the environment or the preset. Runs are kept: the same
    command goes on where it was, and one with more values trains only what is new.

    Examples:
        tcssa sweep --labels labels.csv --features job --over num_slots=8,16 -o sweep
        tcssa sweep --dataset nsclc --over model=tcssa,abmil --over seed=0,1 -o sweep
    """
    output = Output(as_json)
    from tcssa.mil.sweep.sweep import METHOD, parse_axis
    from tcssa.mil.sweep.sweep import sweep as train_all

    def settled(name: str | None) -> MilSettings:
        return resolve(
            MilSettings,
            flags={**flags, "dataset": dataset, "model": {"name": name}},
            config=config,
            preset=partial(named_defaults, data_root=data_root),
        )

    axes = [parse_axis(text) for text in over]
    # a preset may have other settings for each method
    of_method = {name: settled(name) for name in dict(axes).get(METHOD, ())}
    shared = next(iter(of_method.values()), None) or settled(flags["model"]["name"])
    result = train_all(shared, axes, out, output, jobs=jobs, of_method=of_method)
    failed = [{"run": name, "reason": reason} for name, reason in result.failed]
    output.result(
        {"folder": out, "runs": result.rows, "failed": failed},
        lambda console: _show(console, result),
    )
    if result.failed:
        raise typer.Exit(1)


_OTHERS = {"balanced_accuracy": "bal. acc.", "effective_slots": "slots in use"}
"""Columns after the headline, which not every kind of label and not every method has."""


def _show(console: Console, result: SweepResult) -> None:
    if result.rows:
        headline = result.headline
        others = [name for name in _OTHERS if any(row.get(name) is not None for row in result.rows)]
        settings = list(dict.fromkeys(n for row in result.rows for n in _settings(row, headline)))
        rows = [
            [row.get(name, "–") for name in settings]
            + _figures(row, headline)
            + [row.get(name, "–") for name in others]
            for row in result.rows
        ]
        figures = [f"{written(headline)} (95 %)", "folds, mean ± SD"]
        header = [*settings, *figures, *(_OTHERS[name] for name in others)]
        console.print(make_table(counted(len(rows), "run"), header, rows))
    show_failures(console, [(reason, name, None) for name, reason in result.failed], "not trained")
    console.print(f"table: {result.out / 'sweep.csv'}", soft_wrap=True)
    if result.rows:
        console.print(f"page: {result.out / 'sweep.html'}", soft_wrap=True)


def _settings(row: dict[str, Any], headline: str) -> list[str]:
    return list(row)[: list(row).index(headline)]


def _figures(row: dict[str, Any], headline: str) -> list[Any]:
    value, low, high = (row[f"{headline}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return ["not defined", "–"]
    interval = "" if low is None else f" ({low:.3f} – {high:.3f})"
    mean, deviation = row[f"{headline}_fold_mean"], row[f"{headline}_fold_sd"]
    folds = "–" if mean is None else f"{mean:.3f} ± {deviation or 0:.3f}"
    return [f"{value:.3f}{interval}", folds]
