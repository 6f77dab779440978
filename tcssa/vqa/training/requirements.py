"""Requirements of a training's settings, looked at before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from tcssa.config.settings_diff import differences
from tcssa.errors import UsageError
from tcssa.vqa.settings import LoraSettings, VqaSettings, inherited


def require_sources(settings: VqaSettings) -> None:
    """Require that a training has all that it begins with, and nothing that it cannot use.

    Raises:
        UsageError: It has not.
    """
    corpus, visual, options = settings.corpus, settings.visual, settings.train
    if corpus.data is None or not corpus.features:
        raise UsageError(
            "training needs conversations and features", hint="give --data JSON --features DIR"
        )
    begins = visual.kind == "tcssa" and visual.compressor is None and options.from_run is None
    if begins and not options.train_compressor:
        raise UsageError(
            "the slots need a compressor",
            hint="give --compressor RUN (of train-mil, or a checkpoint), or --train-compressor to "
            "begin one, or another --visual",
        )
    if begins and (visual.budget is not None or visual.num_tokens < 2):
        raise UsageError(
            "a fresh compressor makes --num-tokens slots, 2 or more, and has no --budget"
        )
    if corpus.several == "merge" and visual.kind != "tcssa":
        raise UsageError(
            f"--several merge adds up slots, and --visual {visual.kind} has none",
            hint="--several concat puts the tokens of one slide behind those of the other",
        )
    if visual.budget is not None and visual.kind != "tcssa":
        raise UsageError(f"--budget is of slots, and --visual {visual.kind} has none")
    if options.train_compressor and visual.kind != "tcssa":
        raise UsageError(
            f"--train-compressor needs --visual tcssa, not {visual.kind}",
            hint="abmil and topm train without being told to; the others have no weights",
        )
    if options.keep_checkpoints > 1 and corpus.val_data is None and not corpus.val_fraction:
        raise UsageError(
            "--keep-checkpoints keeps the best validated steps, and nothing is validated",
            hint="give --val-fraction or --val-data",
        )
    if options.shard and settings.llm.quantize:
        raise UsageError(
            "--shard divides weights that are not quantised",
            hint="leave one of --shard and --quantize out: 4 bits a weight rarely need sharding",
        )
    if options.stage == 2 and options.from_run is None and not options.train_projector:
        raise UsageError(
            "stage 2 starts from a run of stage 1, else it would learn with a random projector",
            hint="give --from RUN, or --train-projector to train the projector along",
        )


def require_inherited(settings: VqaSettings) -> None:
    """Refuse what contradicts the run that training starts from, instead of ignoring it.

    Raises:
        UsageError: A setting differs from that of the run.
    """
    if settings.train.from_run is None:
        return
    told = inherited({"train": {"from_run": settings.train.from_run}})
    asked = settings.model_dump(mode="json")
    told["llm"].pop("llm", None)  # it may lie elsewhere now; its hash is what counts
    told.pop("train")  # another precision is in force, and said
    told.pop("corpus")  # so is what several slides become
    if "lora" not in told and settings.train.stage == 1:
        told["lora"] = LoraSettings().model_dump(mode="json")  # it has none that options could set
    mine = {part: {name: asked[part][name] for name in told[part]} for part in told}
    changed = differences(told, mine)
    if changed:
        raise UsageError(
            f"{settings.train.from_run} says otherwise: {'; '.join(changed)}",
            hint="leave these options out: they are taken from the run that --from names",
        )


def require_shards(settings: VqaSettings, num_processes: int) -> None:
    """Require several processes of a training that shards, before anything is loaded or written.

    Args:
        settings: Settings of the training.
        num_processes: How many processes were started together.

    Raises:
        UsageError: There is one.
    """
    if settings.train.shard and num_processes == 1:
        raise UsageError(
            "--shard divides the weights among several processes, and this is one",
            hint="start it with torchrun --no-python tcssa …, or leave --shard out",
        )


def require_attention(settings: VqaSettings, device: torch.device) -> None:
    """Require that the attention that was asked for can be computed here.

    Args:
        settings: Settings of the training, its precision settled.
        device: Where it trains.

    Raises:
        UsageError: It is FlashAttention, and device, precision or package are not its.
    """
    if settings.llm.attention != "flash":
        return
    hint = "give --attention sdpa, which computes the same"
    if device.type != "cuda" or settings.train.precision != "bf16":
        raise UsageError(
            f"--attention flash needs a GPU and bf16; this is {device.type} and "
            f"{settings.train.precision}",
            hint=hint,
        )
    if find_spec("flash_attn") is None:
        raise UsageError(
            "--attention flash needs the package flash-attn, which is not installed",
            hint=f"pip install flash-attn, or {hint}",
        )
