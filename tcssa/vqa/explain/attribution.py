"""Attribution of an answer to visual tokens: each is blanked in turn, the answer scored again.

The effect of a slot is how much the log-likelihood of the answer falls without it: positive where
the slot speaks for the answer, negative where it speaks against. Effects of slots that say the
same are small, since each stands in for the other; they do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tcssa.vqa.answering.controls import without
from tcssa.vqa.answering.prefill import Prompt, advance, prefill

if TYPE_CHECKING:
    from tcssa.vqa.model.model import SlideLanguageModel

Weigh = Callable[
    ["SlideLanguageModel", Sequence[Prompt], Sequence[int], Sequence[int] | None, int], Tensor
]
"""A function that takes what `log_likelihoods` takes, and returns it."""


def ablation_effects(
    model: SlideLanguageModel,
    prompt: Prompt,
    answer: Sequence[int],
    among: Sequence[int] | None = None,
    batch_size: int = 16,
    weigh: Weigh | None = None,
) -> Tensor:
    """Measure how far an answer's log-likelihood falls without each visual token, [V] in nats.

    Args:
        model: The model, in evaluation mode.
        prompt: The question about the slide.
        answer: The token ids of the answer.
        among: Normalise over these tokens only (the letters of the options); None: over all.
        batch_size: Prompts read at a time.
        weigh: Weighs the answer; None does it here.
    """
    blanked = [
        replace(prompt, visual=without(prompt.visual, slot)) for slot in range(len(prompt.visual))
    ]
    weighed = (weigh or log_likelihoods)(model, [prompt, *blanked], answer, among, batch_size)
    return weighed[0] - weighed[1:]


@torch.no_grad()
def log_likelihoods(
    model: SlideLanguageModel,
    prompts: Sequence[Prompt],
    answer: Sequence[int],
    among: Sequence[int] | None = None,
    batch_size: int = 16,
) -> Tensor:
    """Return the log-likelihood of one answer after each of several prompts.

    Args:
        model: The model, in evaluation mode.
        prompts: The prompts, at least one.
        answer: The token ids of the answer.
        among: Normalise over these tokens only (the letters of the options); None: over all.
        batch_size: Prompts read at a time.

    Returns:
        The log-likelihoods [B] in nats, float64, on the CPU.
    """
    sums = []
    for step in prefill(model, prompts, batch_size):
        total = torch.zeros(len(step.logits), dtype=torch.float64)
        for position, token in enumerate(answer):
            if position:
                before = torch.full_like(step.positions, answer[position - 1])
                step = advance(model, step, before)
            logits = step.logits.cpu().double()  # some devices have no float64
            chosen = logits[:, token]
            weighed = logits if among is None else logits[:, list(among)]
            total += chosen - weighed.logsumexp(-1)
        sums.append(total)
    return torch.cat(sums)
