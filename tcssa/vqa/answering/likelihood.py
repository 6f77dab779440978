"""Answering by the likelihood of the options' letters.

One forward pass a question: the probabilities of the next token after the prompt, of the letters
alone, normalised over the options there are. Nothing is sampled and nothing is parsed, so there
are no invalid answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tcssa.errors import TcssaError
from tcssa.vqa.answering.prefill import Prompt, prefill
from tcssa.vqa.answering.reply import ComparesOptions, Reply, likeliest, require_options
from tcssa.vqa.conversation import LETTERS, MAX_OPTIONS, Turn

if TYPE_CHECKING:
    from tcssa.vqa.prompts.prompt import PromptBuilder


def letter_token_ids(prompts: PromptBuilder) -> list[int]:
    """Return the token that an assistant's answer of one letter begins with, for A to Z.

    The tokens are taken from whole conversations, since "A" and " A" are different tokens and the
    template decides which of them follows the prompt.

    Raises:
        TcssaError: The tokenizer has no token of its own for each letter there, or the chat
            template changes the prompt once an answer follows.
    """
    question = prompts.question_turn("?", ("yes", "no"))
    prompt = list(prompts.prompt_ids([question], 1))
    answers = []
    for letter in LETTERS:
        conversation = prompts.conversation_ids([question, Turn("assistant", letter)], 1)
        ids = list(conversation.input_ids)
        if ids[: len(prompt)] != prompt:
            raise TcssaError("the chat template writes another prompt when an answer follows")
        answers.append(ids[len(prompt) :])
    firsts, ends = [answer[0] for answer in answers], {tuple(answer[1:]) for answer in answers}
    if len(set(firsts)) < MAX_OPTIONS or len(ends) > 1:
        raise TcssaError(
            "the tokenizer splits single letters, so their likelihoods cannot be compared",
            hint="answer with --method generate",
        )
    return firsts


class Likelihood(ComparesOptions):
    """Chooses the option whose letter is the most probable next token."""

    name = "likelihood"
    shows_options = True

    def room(self, options: Sequence[str]) -> int:
        """See `Method.room`."""
        return 1

    @cached_property
    def letters(self) -> list[int]:
        """See `letter_token_ids`."""
        return letter_token_ids(self.prompts)

    @torch.no_grad()
    def reply(self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Reply]:
        """See `Method.reply`.

        Raises:
            TcssaError: A question has fewer than 2 or more than 26 options.
        """
        require_options(options)
        steps = prefill(self.model, prompts, self.batch_size) if prompts else ()
        left = iter(options)
        return [
            letter_reply(row, self.letters[: len(shown)])
            for step in steps
            # a batch's rows first: when they are used up, no option has been taken too many
            for row, shown in zip(step.logits.cpu(), left, strict=False)
        ]


def letter_reply(logits: Tensor, letters: Sequence[int]) -> Reply:
    """Return the reply that the logits of the next token stand for.

    Args:
        logits: Logits of the next token [vocabulary].
        letters: Token id of each option's letter, in the order shown.
    """
    return likeliest(logits.double().log_softmax(-1)[list(letters)].tolist())
