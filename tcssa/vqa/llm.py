"""Language models from where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class LoadedLLM:
    """A language model and its tokenizer; transformers types both loosely, hence Any."""

    model: Any
    tokenizer: Any
    id: str
    """By which `load_llm` finds it again: its name, or its path."""
    sha256: str
    """Hash of its weights."""


def load_llm(
    name_or_path: str,
    *,
    allow_hub: bool = False,
    trust_remote_code: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LoadedLLM:
    """Load a language model, in evaluation mode.

    Args:
        name_or_path: A folder, a ``.gguf`` file, or a name in the local cache of the hub.
        allow_hub: Download a name that is not in the cache.
        trust_remote_code: Run code that comes with the model.
        dtype: Of its weights.
        device: Where it goes.

    Raises:
        LlmError: It is not there, or cannot be loaded.
    """
    raise NotImplementedError
