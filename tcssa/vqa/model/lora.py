"""LoRA on a language model: the adapter of stage 2."""

from __future__ import annotations

from typing import Any

from tcssa.errors import UsageError, one_line
from tcssa.vqa.model.adapter import attach_lora
from tcssa.vqa.settings import LoraSettings


def add_lora(llm: Any, settings: LoraSettings) -> Any:
    """Wrap a language model so that only LoRA's matrices train.

    Args:
        llm: A transformers model; transformers and peft type theirs loosely, hence Any.
        settings: Rank, scale, dropout, layers.

    Returns:
        A PeftModel; its matrices are float32 whatever the model's type, and computing with them at
        the start changes nothing.

    Raises:
        UsageError: No layer of the model has these names.
    """
    from peft import LoraConfig

    names = [name.strip() for name in settings.targets.split(",")]
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=settings.dropout,
        target_modules=names[0] if names == ["all-linear"] else names,
        task_type="CAUSAL_LM",
    )
    try:
        return attach_lora(llm, config)
    except ValueError as error:
        reason = one_line(error)
        raise UsageError(
            f"LoRA cannot be put on {settings.targets!r}: {reason}",
            hint="use --lora-targets all-linear, or names of the model's linear layers",
        ) from None
