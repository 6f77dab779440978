"""`tcssa train-vqa`: slides and conversations to a language model that sees slots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tcssa.compute.launcher import is_main_process
from tcssa.config.settings import resolve
from tcssa.vqa.settings import (
    CorpusSettings,
    LanguageModelOptions,
    LlmSettings,
    LoraSettings,
    VisualSettings,
    VqaSettings,
    VqaTrainSettings,
    inherited,
)
from tcssa_cli.options import ConfigFile, DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output, make_table
from tcssa_cli.settings_flags import Flags, with_flags


@with_flags(
    Flags(CorpusSettings, at="corpus", panel="Data"),
    Flags(
        VisualSettings,
        at="visual",
        panel="Slides",
        spelled={"kind": "--visual", "use_slot_cache": "--use-slot-cache/--no-slot-cache"},
    ),
    Flags(LlmSettings, at="llm", panel="Language model"),
    Flags(
        LoraSettings,
        at="lora",
        panel="LoRA",
        spelled={name: f"--lora-{name}" for name in LoraSettings.model_fields},
    ),
    Flags(VqaTrainSettings, at="train", panel="Training", spelled={"from_run": "--from"}),
)
def train_vqa(
    out: Annotated[Path, out_option("Run directory to write.")],
    flags: dict[str, Any],
    merge: Annotated[
        Path | None,
        typer.Option(help="Also write a folder with everything, LoRA merged into the model."),
    ] = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Teach a language model to see slides: the projector first, then LoRA on questions.

    Stage 1 learns captions with the language model frozen; stage 2 starts from it and learns
    questions. After an interruption, run the same command again to go on. For several GPUs, start
    it with torchrun --no-python tcssa …; --shard divides the weights among them.

    Examples:
        tcssa train-vqa --compressor run --data captions.json --features job -o stage1
        tcssa train-vqa --stage 2 --from stage1 --data qa.json --features job -o two
        tcssa train-vqa --compressor run --data c.json --features job --pack -o two
    """
    output = Output(as_json)
    settings = resolve(VqaSettings, flags=flags, config=config, preset=inherited)
    from tcssa.vqa.training.train import train

    metrics = train(settings, out, output)
    if not is_main_process():
        return
    if merge is not None:
        from tcssa.vqa.model.merge import merge_vqa

        chosen = settings.llm.model_dump(include=set(LanguageModelOptions.model_fields))
        merge_vqa(out, merge, LanguageModelOptions(**chosen))
        output.note(f"one folder with everything: {merge}")
    output.result({"run": str(out), **metrics}, lambda console: _show(console, out, metrics))
    if settings.train.stage == 1:
        output.hint(f"next: tcssa train-vqa --stage 2 --from {out} --data QUESTIONS --out RUN")
    else:
        output.hint(f"next: tcssa eval {out} --benchmark wsi-vqa FILE --features DIR")


def _show(console: Console, out: Path, metrics: dict[str, Any]) -> None:
    rows = metrics["rows"]
    lines = [
        ["stage", metrics["stage"]],
        ["rows learned", rows["train"]],
        ["rows validated", rows["val"]],
        *([f"left out: {reason}", count] for reason, count in metrics["dropped"].items()),
        ["steps", metrics["steps"]],
        ["kept step", metrics["best_step"]],
        ["training loss", metrics["train_loss"]],
        ["validation loss", metrics["val_loss"]],
        ["validation rows answered right", metrics.get("val_accuracy")],
        ["tokens a second", round(metrics["tokens_per_s"])],
        *([f"trained numbers: {part}", n] for part, n in metrics["trained"].items()),
    ]
    console.print(make_table(None, ["", "value"], lines))
    console.print(f"run: {out}, page: {out / 'report.html'}", soft_wrap=True)
