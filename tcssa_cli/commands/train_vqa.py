"""`tcssa train-vqa`: slides and conversations to a language model that sees slots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tcssa.launcher import is_main_process
from tcssa.settings import resolve
from tcssa.vqa.settings import (
    CorpusSettings,
    LlmSettings,
    LoraSettings,
    VisualSettings,
    VqaSettings,
    VqaTrainSettings,
    inherited,
)
from tcssa_cli.options import ConfigFile, DebugFlag, JsonFlag, setting
from tcssa_cli.output import Output, make_table

_DATA, _VISUAL, _LLM, _LORA, _TRAIN = "Data", "Slides", "Language model", "LoRA", "Training"


def train_vqa(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run directory to write.")],
    stage: Annotated[int | None, setting(VqaTrainSettings, "stage", panel=_TRAIN)] = None,
    from_run: Annotated[
        Path | None, setting(VqaTrainSettings, "from_run", "--from", panel=_TRAIN)
    ] = None,
    data: Annotated[Path | None, setting(CorpusSettings, "data", panel=_DATA)] = None,
    features: Annotated[Path | None, setting(CorpusSettings, "features", panel=_DATA)] = None,
    val_data: Annotated[Path | None, setting(CorpusSettings, "val_data", panel=_DATA)] = None,
    val_fraction: Annotated[
        float | None, setting(CorpusSettings, "val_fraction", panel=_DATA)
    ] = None,
    max_length: Annotated[int | None, setting(CorpusSettings, "max_length", panel=_DATA)] = None,
    max_dropped: Annotated[
        float | None, setting(CorpusSettings, "max_dropped", panel=_DATA)
    ] = None,
    visual: Annotated[
        str | None, setting(VisualSettings, "kind", "--visual", panel=_VISUAL)
    ] = None,
    compressor: Annotated[Path | None, setting(VisualSettings, "compressor", panel=_VISUAL)] = None,
    num_tokens: Annotated[int | None, setting(VisualSettings, "num_tokens", panel=_VISUAL)] = None,
    projector_dim: Annotated[
        int | None, setting(VisualSettings, "projector_dim", panel=_VISUAL)
    ] = None,
    slot_cache: Annotated[Path | None, setting(VisualSettings, "slot_cache", panel=_VISUAL)] = None,
    use_slot_cache: Annotated[
        bool | None,
        setting(
            VisualSettings,
            "use_slot_cache",
            "--use-slot-cache/--no-slot-cache",
            panel=_VISUAL,
        ),
    ] = None,
    llm: Annotated[str | None, setting(LlmSettings, "llm", panel=_LLM)] = None,
    allow_hub: Annotated[
        bool | None, setting(LlmSettings, "allow_hub", "--allow-hub", panel=_LLM)
    ] = None,
    trust_remote_code: Annotated[
        bool | None, setting(LlmSettings, "trust_remote_code", "--trust-remote-code", panel=_LLM)
    ] = None,
    system: Annotated[str | None, setting(LlmSettings, "system", panel=_LLM)] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        setting(LlmSettings, "gradient_checkpointing", "--gradient-checkpointing", panel=_LLM),
    ] = None,
    lora_rank: Annotated[
        int | None, setting(LoraSettings, "rank", "--lora-rank", panel=_LORA)
    ] = None,
    lora_alpha: Annotated[
        float | None, setting(LoraSettings, "alpha", "--lora-alpha", panel=_LORA)
    ] = None,
    lora_dropout: Annotated[
        float | None, setting(LoraSettings, "dropout", "--lora-dropout", panel=_LORA)
    ] = None,
    lora_targets: Annotated[
        str | None, setting(LoraSettings, "targets", "--lora-targets", panel=_LORA)
    ] = None,
    train_compressor: Annotated[
        bool | None,
        setting(VqaTrainSettings, "train_compressor", "--train-compressor", panel=_TRAIN),
    ] = None,
    train_projector: Annotated[
        bool | None,
        setting(VqaTrainSettings, "train_projector", "--train-projector", panel=_TRAIN),
    ] = None,
    epochs: Annotated[int | None, setting(VqaTrainSettings, "epochs", panel=_TRAIN)] = None,
    lr: Annotated[float | None, setting(VqaTrainSettings, "lr", panel=_TRAIN)] = None,
    compressor_lr: Annotated[
        float | None, setting(VqaTrainSettings, "compressor_lr", panel=_TRAIN)
    ] = None,
    weight_decay: Annotated[
        float | None, setting(VqaTrainSettings, "weight_decay", panel=_TRAIN)
    ] = None,
    warmup: Annotated[float | None, setting(VqaTrainSettings, "warmup", panel=_TRAIN)] = None,
    clip_norm: Annotated[float | None, setting(VqaTrainSettings, "clip_norm", panel=_TRAIN)] = None,
    aux_weight: Annotated[
        float | None, setting(VqaTrainSettings, "aux_weight", panel=_TRAIN)
    ] = None,
    batch_size: Annotated[int | None, setting(VqaTrainSettings, "batch_size", panel=_TRAIN)] = None,
    micro_batch_size: Annotated[
        int | None, setting(VqaTrainSettings, "micro_batch_size", panel=_TRAIN)
    ] = None,
    validate_every: Annotated[
        int | None, setting(VqaTrainSettings, "validate_every", panel=_TRAIN)
    ] = None,
    seed: Annotated[int | None, setting(VqaTrainSettings, "seed", panel=_TRAIN)] = None,
    precision: Annotated[str | None, setting(VqaTrainSettings, "precision", panel=_TRAIN)] = None,
    device: Annotated[str | None, setting(VqaTrainSettings, "device", panel=_TRAIN)] = None,
    checkpoint_every_s: Annotated[
        float | None, setting(VqaTrainSettings, "checkpoint_every_s", panel=_TRAIN)
    ] = None,
    merge: Annotated[
        Path | None,
        typer.Option(help="Also write one folder with everything, LoRA merged, to here."),
    ] = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Teach a language model to see slides: the projector first, then LoRA on questions.

    Stage 1 learns captions with the language model frozen, stage 2 starts from it and learns
    questions. A killed run goes on where it was. Several GPUs: torchrun --no-python tcssa …
    """
    output = Output(as_json)
    flags = {
        "corpus": {
            "data": data,
            "features": features,
            "val_data": val_data,
            "val_fraction": val_fraction,
            "max_length": max_length,
            "max_dropped": max_dropped,
        },
        "visual": {
            "kind": visual,
            "compressor": compressor,
            "num_tokens": num_tokens,
            "projector_dim": projector_dim,
            "slot_cache": slot_cache,
            "use_slot_cache": use_slot_cache,
        },
        "llm": {
            "llm": llm,
            "allow_hub": allow_hub,
            "trust_remote_code": trust_remote_code,
            "system": system,
            "gradient_checkpointing": gradient_checkpointing,
        },
        "lora": {
            "rank": lora_rank,
            "alpha": lora_alpha,
            "dropout": lora_dropout,
            "targets": lora_targets,
        },
        "train": {
            "stage": stage,
            "from_run": from_run,
            "train_compressor": train_compressor,
            "train_projector": train_projector,
            "epochs": epochs,
            "lr": lr,
            "compressor_lr": compressor_lr,
            "weight_decay": weight_decay,
            "warmup": warmup,
            "clip_norm": clip_norm,
            "aux_weight": aux_weight,
            "batch_size": batch_size,
            "micro_batch_size": micro_batch_size,
            "validate_every": validate_every,
            "seed": seed,
            "precision": precision,
            "device": device,
            "checkpoint_every_s": checkpoint_every_s,
        },
    }
    settings = resolve(VqaSettings, flags=flags, config=config, preset=inherited)
    from tcssa.vqa.train import train

    metrics = train(settings, out, output)
    if not is_main_process():
        return
    if merge is not None:
        from tcssa.vqa.merge import merge_vqa

        merge_vqa(out, merge, llm=settings.llm.llm, allow_hub=settings.llm.allow_hub)
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
        ["tokens a second", round(metrics["tokens_per_s"])],
        *([f"trained numbers: {part}", n] for part, n in metrics["trained"].items()),
    ]
    console.print(make_table(None, ["", "value"], lines))
    console.print(f"run: {out}", soft_wrap=True)
