"""The first forward pass over several prompts, their common beginning computed once.

All questions of a slide begin alike: system prompt, slide tokens, and whatever wording they share.
The keys and values of that beginning are computed for one row and repeated for the batch. What is
left of each prompt is padded on the left, between the beginning and itself, and masked; positions
skip the padding. So every prompt is computed as if it stood alone.

Shapes: B prompts, L their length, V visual tokens, D and H the widths of features and of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

if TYPE_CHECKING:
    from tcssa.vqa.model.model import SlideLanguageModel


@dataclass(frozen=True)
class Prompt:
    """The input of a language model before it answers."""

    ids: Sequence[int]
    """Token ids, with one placeholder a visual token."""
    visual: Tensor
    """The slide's visual tokens [V, D], as they go into the projector."""


@dataclass
class Step:
    """A batch of prompts that has been read, ready for the next token."""

    logits: Tensor
    """Logits of the next token [B, vocabulary], float32."""
    cache: DynamicCache
    """Keys and values of everything read."""
    mask: Tensor
    """True where the cache holds a real token [B, length]."""
    positions: Tensor
    """The position of the next token [B]."""


def prefill(
    model: SlideLanguageModel, prompts: Sequence[Prompt], batch_size: int
) -> Iterator[Step]:
    """Read prompts, in batches and in order.

    Args:
        model: The model, in evaluation mode.
        prompts: At least one.
        batch_size: Most prompts read at a time.

    Yields:
        One step a batch. Its prompts' results do not depend on the others' (but for rounding).
    """
    shared = shared_length(prompts, model.image_token_id)
    prefix = _read_prefix(model, prompts[0], shared)
    for begin in range(0, len(prompts), batch_size):
        batch = prompts[begin : begin + batch_size]
        yield _read(model, prefix, shared, [_embed(model, row, shared) for row in batch])


def context_length(model: SlideLanguageModel) -> int:
    """Return the most tokens that the language model reads, as its configuration says."""
    return int(model.llm.config.get_text_config().max_position_embeddings)


def shared_length(prompts: Sequence[Prompt], image_token_id: int) -> int:
    """Count the tokens that all prompts begin with alike; each keeps at least one of its own.

    If the prompts are about different slides, the first visual token ends what is shared.

    Args:
        prompts: At least one.
        image_token_id: The placeholder of a visual token.
    """
    first = list(prompts[0].ids)
    length = min(len(prompt.ids) for prompt in prompts) - 1
    same_slide = all(prompt.visual is prompts[0].visual for prompt in prompts)
    if not same_slide and image_token_id in first:
        length = min(length, first.index(image_token_id))
    for prompt in prompts[1:]:
        differing = (i for i in range(length) if prompt.ids[i] != first[i])
        length = next(differing, length)
    return length


def advance(model: SlideLanguageModel, step: Step, tokens: Tensor) -> Step:
    """Read one more token of every prompt.

    Args:
        model: The model, in evaluation mode.
        step: The prompts read so far; its cache grows in place, so it cannot be used again.
        tokens: The next token of each prompt [B].

    Returns:
        The step after these tokens.
    """
    embeds = model.llm.get_input_embeddings()(tokens[:, None])
    mask = torch.cat([step.mask, torch.ones_like(step.mask[:, :1])], dim=1)
    logits = _forward(model, embeds, mask, step.positions[:, None], step.cache)
    return Step(logits, step.cache, mask, step.positions + 1)


def _read_prefix(model: SlideLanguageModel, prompt: Prompt, shared: int) -> DynamicCache:
    cache = DynamicCache(config=model.llm.config)
    if shared:
        embeds = _embed(model, prompt, 0, shared)[None]
        mask = torch.ones(1, shared, dtype=torch.bool, device=embeds.device)
        positions = torch.arange(shared, device=embeds.device)[None]
        _forward(model, embeds, mask, positions, cache)
    return cache


def _read(
    model: SlideLanguageModel, prefix: DynamicCache, shared: int, rows: Sequence[Tensor]
) -> Step:
    cache = copy.deepcopy(prefix)
    if shared:
        cache.batch_repeat_interleave(len(rows))
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    longest = int(lengths.max())
    embeds = rows[0].new_zeros(len(rows), longest, rows[0].shape[-1])
    for padded, row in zip(embeds, rows, strict=True):
        padded[longest - len(row) :] = row
    own = torch.arange(longest, device=embeds.device) - (longest - lengths)[:, None]
    before = torch.ones(len(rows), shared, dtype=torch.bool, device=embeds.device)
    mask = torch.cat([before, own >= 0], dim=1)
    logits = _forward(model, embeds, mask, shared + own.clamp(min=0), cache)
    return Step(logits, cache, mask, shared + lengths)


def _embed(model: SlideLanguageModel, prompt: Prompt, begin: int, end: int | None = None) -> Tensor:
    """Embed a stretch of a prompt, [L, H], projecting only the visual tokens inside it."""
    ids, placeholder = list(prompt.ids), model.image_token_id
    first = ids[:begin].count(placeholder)
    visual = prompt.visual[first : first + ids[begin:end].count(placeholder)]
    return model.embed(torch.tensor([ids[begin:end]], device=visual.device), [visual])[0]


def _forward(
    model: SlideLanguageModel, embeds: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
) -> Tensor:
    output: Any = model.llm(
        inputs_embeds=embeds,
        attention_mask=mask,
        position_ids=positions,
        cache=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: Tensor = output.logits[:, -1].float()
    return logits
