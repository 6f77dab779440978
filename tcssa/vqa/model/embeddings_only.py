"""The embeddings of a language model's folder, without the rest of it.

Whoever asks a server needs no more: some hundred MB of a model of 4 billion parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from tcssa.errors import LlmError
from tcssa.vqa.model.llm import LoadedLLM, hash_of_files, load_tokenizer, loading, weight_files


class EmbeddingsOnly(nn.Module):
    """A language model of which only its configuration and embeddings are there.

    Args:
        config: Its configuration; transformers types its own loosely, hence Any.
        generation_config: Its generation configuration, likewise.
        embeddings: Its input embeddings.
    """

    def __init__(self, config: Any, generation_config: Any, embeddings: nn.Embedding) -> None:
        super().__init__()
        self.config, self.generation_config = config, generation_config
        self.embeddings = embeddings

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the embeddings, by transformers' name."""
        return self.embeddings


def load_embeddings(folder: Path, *, trust_remote_code: bool = False) -> LoadedLLM:
    """Load what is needed of a language model to embed prompts for a server of it.

    Args:
        folder: Its folder, with safetensors.
        trust_remote_code: Run code that comes with the model.

    Returns:
        The model, an `EmbeddingsOnly`, and its tokenizer.

    Raises:
        LlmError: The folder holds no such model, or one that changes its embeddings before it
            reads them.
        CheckpointError: Its ``config.json`` is damaged, or names code to be downloaded.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = load_tokenizer(str(folder), trust_remote_code=trust_remote_code)
    weights = weight_files(folder)
    builder: Any = AutoModelForCausalLM  # transformers types its own loosely
    with loading(folder, "the language model's embeddings"):
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
        with torch.device("meta"):  # its parts and their names, without memory
            model = builder.from_config(config, trust_remote_code=trust_remote_code)
        inputs = model.get_input_embeddings()
        if type(inputs) is not nn.Embedding:
            raise LlmError(
                f"{folder}: {config.model_type} models scale their embeddings, which no server is "
                "known to expect",
                hint="ask it without --endpoint",
            )
        name = next(name for name, module in model.named_modules() if module is inputs)
        weight = _tensor(weights, f"{name}.weight")
        embeddings = nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)
    only = EmbeddingsOnly(config, model.generation_config, embeddings)
    return LoadedLLM(only.eval(), tokenizer, str(folder.resolve()), hash_of_files(weights))


def _tensor(weights: list[Path], name: str) -> torch.Tensor:
    """Return a tensor of a model from whichever of its files has it."""
    for path in weights:
        with safe_open(path, framework="pt") as stream:
            if name in stream.keys():  # noqa: SIM118  # it is no dict
                tensor: torch.Tensor = stream.get_tensor(name)
                return tensor
    raise ValueError(f"no file holds {name}")
