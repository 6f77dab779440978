"""`tcssa sweep`: train a cohort with every combination of some settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tcssa.config.presets import named_defaults, preset_names
from tcssa.config.settings import resolve
from tcssa.mil.reporting.metric_names import written
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings
from tcssa.mil.sweep.sweep_result import SweepResult
from tcssa_cli.options import ConfigFile, DebugFlag, JsonFlag, setting
from tcssa_cli.output import Output, make_table


def sweep(
    over: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=V,V,…",
            help="Setting of train-mil and its values; repeat it: --over num_slots=8,16,32 "
            "--over aux_weight=0,0.1 --over model=tcssa,abmil --over seed=0,1,2.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the sweep.")],
    dataset: Annotated[
        str | None,
        typer.Option(help=f"Preset: {', '.join(preset_names())}.", autocompletion=preset_names),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where presets find their files; else TCSSA_DATA.")
    ] = None,
    labels: Annotated[Path | None, setting(CohortSettings, "labels")] = None,
    features: Annotated[Path | None, setting(CohortSettings, "features")] = None,
    feature_cache: Annotated[Path | None, setting(TrainSettings, "feature_cache")] = None,
    model: Annotated[str | None, setting(ModelSettings, "name", "--model")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side; they share cores.")] = 1,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train every combination of some settings on the same folds: a table, and AUC against K.

    Labels of other kinds (cohort.kind, cohort.targets in --config) have their own figure for AUC.

    All other settings come from --config, the environment or the preset. Runs are kept: the same
    command goes on where it was, and one with more values trains only what is new.
    """
    output = Output(as_json)
    flags = {
        "dataset": dataset,
        "cohort": {"labels": labels, "features": features},
        "train": {"feature_cache": feature_cache},
    }
    from tcssa.mil.sweep.sweep import METHOD, parse_axis
    from tcssa.mil.sweep.sweep import sweep as train_all

    def settled(name: str | None) -> MilSettings:
        return resolve(
            MilSettings,
            flags={**flags, "model": {"name": name}},
            config=config,
            preset=partial(named_defaults, data_root=data_root),
        )

    axes = [parse_axis(text) for text in over]
    # a preset may have other settings for each method
    of_method = {name: settled(name) for name in dict(axes).get(METHOD, ())}
    shared = next(iter(of_method.values()), None) or settled(model)
    result = train_all(shared, axes, out, output, jobs=jobs, of_method=of_method)
    failed = [{"run": name, "reason": reason} for name, reason in result.failed]
    output.result(
        {"folder": out, "runs": result.rows, "failed": failed},
        lambda console: _show(console, result),
    )
    if result.failed:
        raise typer.Exit(1)


def _show(console: Console, result: SweepResult) -> None:
    if result.rows:
        headline = result.headline
        settings = list(dict.fromkeys(n for row in result.rows for n in _settings(row, headline)))
        rows = [
            [row.get(name, "–") for name in settings] + _figures(row, headline)
            for row in result.rows
        ]
        figures = [f"{written(headline)} (95 %)", "folds, mean ± SD", "bal. acc.", "slots in use"]
        header = [*settings, *figures]
        console.print(make_table(f"{len(rows)} runs", header, rows))
    if result.failed:
        console.print(make_table("Not trained", ["run", "reason"], result.failed))
    console.print(f"table: {result.out / 'sweep.csv'}", soft_wrap=True)
    if result.rows:
        console.print(f"page: {result.out / 'sweep.html'}", soft_wrap=True)


def _settings(row: dict[str, Any], headline: str) -> list[str]:
    return list(row)[: list(row).index(headline)]


def _figures(row: dict[str, Any], headline: str) -> list[Any]:
    others = [row.get("balanced_accuracy", "–"), row["effective_slots"]]
    value, low, high = (row[f"{headline}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return ["not defined", "–", *others]
    interval = "" if low is None else f" ({low:.3f} – {high:.3f})"
    mean, deviation = row[f"{headline}_fold_mean"], row[f"{headline}_fold_sd"]
    folds = "–" if mean is None else f"{mean:.3f} ± {deviation or 0:.3f}"
    return [f"{value:.3f}{interval}", folds, *others]
