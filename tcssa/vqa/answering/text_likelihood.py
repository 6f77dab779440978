"""Answering by the likelihood of the options' texts.

The options are not shown: the question stands alone, and each option's text is scored as the
assistant's whole answer, its end mark included (the sum of its tokens' log-probabilities). Small
language models seldom tie an option to its letter, and this asks nothing of the kind; a model that
was trained to answer by letters is asked by `tcssa.vqa.answering.likelihood`.

Long texts are at a disadvantage in a model that was not trained on such answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from tcssa.vqa.answering.prefill import Prompt, Step, advance, prefill
from tcssa.vqa.answering.reply import ComparesOptions, Reply, likeliest, require_options
from tcssa.vqa.conversation import Turn


class TextLikelihood(ComparesOptions):
    """Chooses the option whose text is the most probable answer."""

    name = "text"
    shows_options = False

    def room(self, options: Sequence[str]) -> int:
        """See `Method.room`."""
        return max(len(self.answer_ids(text)) for text in options)

    @cached_property
    def _answers(self) -> dict[str, list[int]]:
        """Tokens of the texts so far, which are asked for once a question and once a control."""
        return {}

    def answer_ids(self, text: str) -> list[int]:
        """Return the tokens with which an assistant says a text and ends its turn."""
        if text not in self._answers:
            turns = [self.prompts.question_turn("?"), Turn("assistant", text)]
            begin = len(self.prompts.prompt_ids(turns[:1], 1))
            supervised = self.prompts.conversation_ids(turns, 1)
            end = begin + supervised.num_supervised
            self._answers[text] = supervised.input_ids[begin:end]
        return self._answers[text]

    @torch.no_grad()
    def reply(self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Reply]:
        """See `Method.reply`; the prompts hold no options.

        Raises:
            TcssaError: A question has fewer than 2 or more than 26 options.
        """
        require_options(options)
        rows = [
            (prompt, text) for prompt, shown in zip(prompts, options, strict=True) for text in shown
        ]
        left = iter(self.score(rows))
        return [likeliest([next(left) for _ in shown]) for shown in options]

    def score(self, rows: Sequence[tuple[Prompt, str]]) -> list[float]:
        """Return the log-probability of each text as the whole answer to its prompt."""
        answers = [self.answer_ids(text) for _, text in rows]
        log_probs: list[float] = []
        steps = prefill(self.model, [prompt for prompt, _ in rows], self.batch_size) if rows else ()
        for step in steps:
            begin = len(log_probs)
            log_probs += self._score(step, answers[begin : begin + len(step.logits)])
        return log_probs

    def _score(self, step: Step, answers: Sequence[Sequence[int]]) -> list[float]:
        """Return the log-probability of each answer after its prompt."""
        longest = max(len(answer) for answer in answers)
        device = step.logits.device
        padded = torch.zeros(len(answers), longest, dtype=torch.long, device=device)
        for row, answer in zip(padded, answers, strict=True):
            row[: len(answer)] = torch.tensor(answer, device=device)
        lengths = torch.tensor([len(answer) for answer in answers], device=device)
        total = torch.zeros(len(answers), dtype=torch.float64, device=device)
        for place in range(longest):
            found = _log_probs(step.logits, padded[:, place])
            total += torch.where(place < lengths, found, 0.0)
            if place + 1 < longest:
                step = advance(self.model, step, padded[:, place])
        return [float(value) for value in total]


def _log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-probability of each row's token, float64 [B]."""
    return logits.double().log_softmax(-1).gather(1, tokens[:, None])[:, 0]
