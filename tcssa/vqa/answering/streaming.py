"""One answer written token by token, each shown as it comes: the likeliest, or drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tcssa.vqa.answering.prefill import Prompt, advance, prefill

if TYPE_CHECKING:
    from tcssa.vqa.model.model import SlideLanguageModel


class Sampler:
    """Chooses the next token.

    Args:
        temperature: Divides the logits before one is drawn; 0 takes the likeliest.
        top_p: Draw among the likeliest tokens that have this share of the probability together,
            above 0, at most 1.
        seed: Seed of the draws.
    """

    def __init__(self, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0) -> None:
        self.temperature, self.top_p, self.seed = temperature, top_p, seed
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor) -> int:
        """Choose a token by its logits [vocabulary]."""
        if not self.temperature:
            return int(logits.argmax())
        probs = (logits.cpu().double() / self.temperature).softmax(-1)
        ordered, tokens = probs.sort(descending=True)
        kept = ordered.cumsum(-1) - ordered < self.top_p  # the likeliest always is
        drawn = torch.multinomial(ordered * kept, 1, generator=self.generator)
        return int(tokens[drawn])


def stream_tokens(
    model: SlideLanguageModel,
    prompt: Prompt,
    choose: Callable[[Tensor], int],
    *,
    stops: set[int],
    max_new_tokens: int,
) -> Iterator[int]:
    """Write an answer, token by token, without the token that ends it.

    Args:
        model: The model, in evaluation mode.
        prompt: What is answered.
        choose: Chooses a token by the logits [vocabulary].
        stops: Tokens that end an answer.
        max_new_tokens: Most tokens; a longer answer is cut.
    """
    with torch.no_grad():
        (step,) = prefill(model, [prompt], 1)
    for number in range(max_new_tokens):
        token = choose(step.logits[0])
        if token in stops:
            return
        yield token
        if number < max_new_tokens - 1:
            with torch.no_grad():
                step = advance(model, step, torch.full_like(step.positions, token))
