"""`tcssa train-mil`: slide labels and patch features to a tested classifier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from tcssa.launcher import is_main_process
from tcssa.mil.names import titles, written
from tcssa.mil.settings import (
    CohortSettings,
    MilSettings,
    ModelSettings,
    SplitSettings,
    TrainSettings,
)
from tcssa.presets import named_preset, preset_names
from tcssa.settings import resolve
from tcssa_cli.commands.metrics import show_metrics
from tcssa_cli.options import ConfigFile, DebugFlag, JsonFlag, setting
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.mil.expected import Expectation

_DATA, _MODEL, _SPLIT, _TRAIN = "Data", "Model", "Splits", "Training"


def train_mil(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run directory to write.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help=f"Preset: {', '.join(preset_names())}; tcssa presets NAME shows one.",
            rich_help_panel=_DATA,
            autocompletion=preset_names,
        ),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="Where presets find their files; else TCSSA_DATA.", rich_help_panel=_DATA
        ),
    ] = None,
    labels: Annotated[Path | None, setting(CohortSettings, "labels", panel=_DATA)] = None,
    features: Annotated[Path | None, setting(CohortSettings, "features", panel=_DATA)] = None,
    kind: Annotated[str | None, setting(CohortSettings, "kind", panel=_DATA)] = None,
    label_column: Annotated[
        str | None, setting(CohortSettings, "label_column", panel=_DATA)
    ] = None,
    targets: Annotated[
        list[str] | None, setting(CohortSettings, "targets", "--target", panel=_DATA)
    ] = None,
    time_column: Annotated[str | None, setting(CohortSettings, "time_column", panel=_DATA)] = None,
    event_column: Annotated[
        str | None, setting(CohortSettings, "event_column", panel=_DATA)
    ] = None,
    time_spans: Annotated[int | None, setting(CohortSettings, "time_spans", panel=_DATA)] = None,
    case_column: Annotated[str | None, setting(CohortSettings, "case_column", panel=_DATA)] = None,
    classes: Annotated[
        list[str] | None, setting(CohortSettings, "classes", "--class", panel=_DATA)
    ] = None,
    skip_missing: Annotated[
        bool | None, setting(CohortSettings, "skip_missing", "--skip-missing", panel=_DATA)
    ] = None,
    model: Annotated[str | None, setting(ModelSettings, "name", "--model", panel=_MODEL)] = None,
    init: Annotated[Path | None, setting(ModelSettings, "init", panel=_MODEL)] = None,
    embed_dim: Annotated[int | None, setting(ModelSettings, "embed_dim", panel=_MODEL)] = None,
    num_slots: Annotated[int | None, setting(ModelSettings, "num_slots", panel=_MODEL)] = None,
    top_k: Annotated[int | None, setting(ModelSettings, "top_k", panel=_MODEL)] = None,
    hidden_dim: Annotated[int | None, setting(ModelSettings, "hidden_dim", panel=_MODEL)] = None,
    pool: Annotated[str | None, setting(ModelSettings, "pool", panel=_MODEL)] = None,
    splits: Annotated[
        Path | None, setting(SplitSettings, "files", "--splits", panel=_SPLIT)
    ] = None,
    scheme: Annotated[str | None, setting(SplitSettings, "scheme", panel=_SPLIT)] = None,
    group_by: Annotated[str | None, setting(SplitSettings, "group_by", panel=_SPLIT)] = None,
    repeats: Annotated[int | None, setting(SplitSettings, "repeats", panel=_SPLIT)] = None,
    test_share: Annotated[float | None, setting(SplitSettings, "test_share", panel=_SPLIT)] = None,
    val_share: Annotated[float | None, setting(SplitSettings, "val_share", panel=_SPLIT)] = None,
    epochs: Annotated[int | None, setting(TrainSettings, "epochs", panel=_TRAIN)] = None,
    patience: Annotated[int | None, setting(TrainSettings, "patience", panel=_TRAIN)] = None,
    lr: Annotated[float | None, setting(TrainSettings, "lr", panel=_TRAIN)] = None,
    weight_decay: Annotated[
        float | None, setting(TrainSettings, "weight_decay", panel=_TRAIN)
    ] = None,
    batch_size: Annotated[int | None, setting(TrainSettings, "batch_size", panel=_TRAIN)] = None,
    num_parts: Annotated[int | None, setting(TrainSettings, "num_parts", panel=_TRAIN)] = None,
    aux_weight: Annotated[float | None, setting(TrainSettings, "aux_weight", panel=_TRAIN)] = None,
    balanced_sampling: Annotated[
        bool | None,
        setting(TrainSettings, "balanced_sampling", "--balanced-sampling", panel=_TRAIN),
    ] = None,
    folds: Annotated[int | None, setting(TrainSettings, "folds", panel=_SPLIT)] = None,
    seed: Annotated[int | None, setting(TrainSettings, "seed", panel=_TRAIN)] = None,
    precision: Annotated[str | None, setting(TrainSettings, "precision", panel=_TRAIN)] = None,
    device: Annotated[str | None, setting(TrainSettings, "device", panel=_TRAIN)] = None,
    cache_gb: Annotated[float | None, setting(TrainSettings, "cache_gb", panel=_TRAIN)] = None,
    feature_cache: Annotated[
        Path | None, setting(TrainSettings, "feature_cache", panel=_TRAIN)
    ] = None,
    readers: Annotated[int | None, setting(TrainSettings, "readers", panel=_TRAIN)] = None,
    checkpoint_every_s: Annotated[
        float | None, setting(TrainSettings, "checkpoint_every_s", panel=_TRAIN)
    ] = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train a slide classifier on slots, cross-validated by patient.

    Every slide is tested once, by a model on which neither it nor its patient had any influence:
    the epoch is chosen on a validation part. A killed run goes on where it was. Several GPUs:
    torchrun --no-python tcssa …
    """
    output = Output(as_json)
    flags = {
        "dataset": dataset,
        "cohort": {
            "labels": labels,
            "features": features,
            "kind": kind,
            "label_column": label_column,
            "targets": targets or None,
            "time_column": time_column,
            "event_column": event_column,
            "time_spans": time_spans,
            "case_column": case_column,
            "classes": classes or None,
            "skip_missing": skip_missing,
        },
        "model": {
            "name": model,
            "init": init,
            "embed_dim": embed_dim,
            "num_slots": num_slots,
            "top_k": top_k,
            "hidden_dim": hidden_dim,
            "pool": pool,
        },
        "split": {
            "files": splits,
            "scheme": scheme,
            "group_by": group_by,
            "repeats": repeats,
            "test_share": test_share,
            "val_share": val_share,
        },
        "train": {
            "epochs": epochs,
            "patience": patience,
            "lr": lr,
            "weight_decay": weight_decay,
            "batch_size": batch_size,
            "num_parts": num_parts,
            "aux_weight": aux_weight,
            "balanced_sampling": balanced_sampling,
            "folds": folds,
            "seed": seed,
            "precision": precision,
            "device": device,
            "cache_gb": cache_gb,
            "feature_cache": feature_cache,
            "readers": readers,
            "checkpoint_every_s": checkpoint_every_s,
        },
    }
    settings = resolve(
        MilSettings, flags=flags, config=config, preset=partial(named_preset, data_root=data_root)
    )
    from tcssa.mil.expected import expectations
    from tcssa.mil.train import train

    metrics = train(settings, out, output)
    if not is_main_process():
        return
    stated = expectations(settings, metrics)
    result = {"run": str(out), **metrics, "expected": [row.to_dict() for row in stated]}
    output.result(result, lambda console: _show(console, out, metrics, stated))
    if settings.model.name == "tcssa":
        if "task" not in metrics:  # slots are set against classes
            output.hint(f"next: tcssa inspect slots {out} --out SLOTS, to see what the slots hold")
        output.hint(f"next: tcssa export {out} --format onnx --out ARTEFACT")
    else:
        output.hint(f"next: tcssa eval {out} --labels CSV --features DIR")


def _show(
    console: Console, out: Path, metrics: dict[str, Any], stated: Sequence[Expectation]
) -> None:
    from tcssa.mil.tasks.facts import task_of_metrics

    task = task_of_metrics(metrics)
    shown = list(titles(task.metrics, task.headline))[:2]
    rows = [
        [
            fold["fold"],
            fold["best_epoch"],
            fold["val_loss"],
            *(fold["test"][name] for name in shown),
            fold["effective_slots"],
            fold["num_test_slides"],
        ]
        for fold in metrics["folds"]
    ]
    tested = [f"test {written(name)}" for name in shown]
    header = ["fold", "epoch", "val loss", *tested, "slots in use", "test slides"]
    console.print(make_table("Folds", header, rows))
    show_metrics(console, metrics["pooled"], task)
    if stated:
        header = ["", "here, pooled", "stated", "by whom", "but"]
        expected = [
            [row.name, row.here, row.figure.fraction, row.statement.source, row.statement.caveat]
            for row in stated
        ]
        console.print(make_table("Expected", header, expected))
    console.print(f"run: {out}", soft_wrap=True)
