"""`tcssa train-mil`: slide labels and patch features to a tested classifier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console

from tcssa.config.presets import named_defaults
from tcssa.config.settings import resolve
from tcssa.errors import counted
from tcssa.mil.reporting.metric_names import titles, written
from tcssa.mil.settings import (
    CohortSettings,
    MilSettings,
    ModelSettings,
    SplitSettings,
    TrainSettings,
)
from tcssa_cli.commands.metrics import show_metrics
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
from tcssa_cli.output import Output, make_table
from tcssa_cli.settings_flags import Flags, with_flags

if TYPE_CHECKING:
    from tcssa.mil.reporting.published_figures import Expectation
    from tcssa.mil.results.metrics_file import RunMetrics

_MODEL, _SPLIT, _TRAIN = "Model", "Splits", "Training"


@with_flags(
    Flags(
        CohortSettings,
        at="cohort",
        panel=DATA_PANEL,
        names=[name for name in CohortSettings.model_fields if name != "label_names"],
        spelled={"targets": "--target", "classes": "--class"},
    ),
    Flags(MilSettings, panel=_MODEL, names=["recipe"]),
    Flags(
        ModelSettings,
        at="model",
        panel=_MODEL,
        names=[
            "name",
            "init",
            "embed_dim",
            "num_slots",
            "top_k",
            "salience",
            "prototypes",
            "hidden_dim",
            "expert_gain",
            "pool",
            "head_dim",
            "nested",
            "spatial",
        ],
        spelled={"name": "--model"},
        completed={"name": method_names},
    ),
    Flags(SplitSettings, at="split", panel=_SPLIT, spelled={"files": "--splits"}),
    Flags(TrainSettings, at="train", panel=_SPLIT, names=["folds"]),
    Flags(
        TrainSettings,
        at="train",
        panel=_TRAIN,
        names=[name for name in TrainSettings.model_fields if name != "folds"],
    ),
)
def train_mil(
    out: Annotated[Path, out_option("Run directory to write.")],
    flags: dict[str, Any],
    dataset: DatasetOption = None,
    data_root: DataRootOption = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train a slide classifier on slots, cross-validated by patient.

    Every slide is tested once, by a model that was neither trained nor selected on a slide of the
    same patient. After an interruption, run the same command again to go on.

    Examples:
        tcssa train-mil --labels labels.csv --features job --out run
        tcssa train-mil --labels labels.csv --features job --model abmil --out abmil
        tcssa train-mil --dataset nsclc --data-root data --out nsclc
    """
    output = Output(as_json)
    settings = resolve(
        MilSettings,
        flags={**flags, "dataset": dataset},
        config=config,
        preset=partial(named_defaults, data_root=data_root),
    )
    from tcssa.mil.reporting.published_figures import expectations
    from tcssa.mil.training.train import train

    metrics = train(settings, out, output)
    stated = expectations(settings, metrics.pooled)
    result = {"run": str(out), **metrics.to_dict(), "expected": [row.to_dict() for row in stated]}
    output.result(result, lambda console: _show(console, out, metrics, stated))
    output.hint(f"next: tcssa predict {out} SLIDES --out PREDICTED, for slides without labels")
    if settings.model.name == "tcssa":
        if metrics.task.kind == "classes":  # which slots are set against
            output.hint(f"next: tcssa inspect slots {out} --out SLOTS, to see what the slots hold")
        output.hint(f"next: tcssa export {out} --format onnx --out ARTEFACT")
    else:
        output.hint(f"next: tcssa eval {out} --labels CSV --features DIR")


def _show(console: Console, out: Path, metrics: RunMetrics, stated: Sequence[Expectation]) -> None:
    from tcssa.mil.calibration.record import LABEL

    task = metrics.task
    shown = list(titles(task.metrics, task.headline))[:2]
    rows = [
        [
            fold.fold,
            fold.best_epoch,
            fold.val_loss,
            *(fold.test[name] for name in shown),
            fold.effective_slots,
            fold.num_test_slides,
        ]
        for fold in metrics.folds
    ]
    tested = [f"test {written(name)}" for name in shown]
    header = ["fold", "epoch", "val loss", *tested, "slots in use", "tested"]
    console.print(make_table("Folds", header, rows))
    show_metrics(console, metrics.pooled, task)
    for target, one in metrics.calibration.items():
        of_target = "" if target == LABEL else f" of {target}"
        at = "" if one.threshold is None else f"threshold {one.threshold:.3f} ({one.rule}), "
        console.print(
            f"new slides{of_target}: {at}temperature {one.temperature:.3f}, "
            f"from {counted(one.num_slides, 'validation prediction')}"
        )
    if stated:
        header = ["", "here, pooled", "stated", "by whom", "but"]
        expected = [
            [row.name, row.here, row.figure.fraction, row.statement.source, row.statement.caveat]
            for row in stated
        ]
        console.print(make_table("Expected", header, expected))
    console.print(f"run: {out}", soft_wrap=True)
