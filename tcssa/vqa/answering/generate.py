"""Answering by writing: greedy decoding, the likeliest token at each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from tcssa.vqa.answering.answer_parser import parse_answer
from tcssa.vqa.answering.prefill import Prompt, advance, prefill
from tcssa.vqa.answering.reply import Reply
from tcssa.vqa.answering.streaming import Sampler, stream_tokens

if TYPE_CHECKING:
    from tcssa.vqa.model.model import SlideLanguageModel
    from tcssa.vqa.prompts.prompt import PromptBuilder


class Generate:
    """Writes answers, and reads the chosen option off them strictly.

    Args:
        model: The model, in evaluation mode.
        prompts: Its prompt builder.
        batch_size: Questions answered at a time.
        max_new_tokens: Most tokens of an answer; a longer one is cut.
    """

    name = "generate"
    shows_options = True

    def __init__(
        self,
        model: SlideLanguageModel,
        prompts: PromptBuilder,
        batch_size: int = 16,
        max_new_tokens: int = 64,
    ) -> None:
        self.model, self.tokenizer = model, prompts.tokenizer
        self.batch_size, self.max_new_tokens = batch_size, max_new_tokens
        self.stops = stop_token_ids(model, prompts)

    def room(self, options: Sequence[str] = ()) -> int:
        """See `Method.room`."""
        return self.max_new_tokens

    def reply(self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Reply]:
        """See `Method.reply`; a text that does not name one option predicts none."""
        return [
            Reply(parse_answer(text, shown), text=text)
            for text, shown in zip(self.texts(prompts), options, strict=True)
        ]

    def texts(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return the text that the model writes after each prompt."""
        return [self.decode(row) for row in self.tokens(prompts)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of an answer's tokens."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def stream(self, prompt: Prompt, sampler: Sampler) -> Iterator[int]:
        """Write an answer token by token, without the end token.

        Args:
            prompt: The prompt to answer.
            sampler: Chooses each token.
        """
        return stream_tokens(
            self.model, prompt, sampler, stops=self.stops, max_new_tokens=self.max_new_tokens
        )

    @torch.no_grad()
    def tokens(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens that the model writes after each prompt, without the end token."""
        written: list[list[int]] = []
        for step in prefill(self.model, prompts, self.batch_size) if prompts else ():
            rows: list[list[int]] = [[] for _ in range(len(step.logits))]
            open_rows = set(range(len(rows)))
            for number in range(self.max_new_tokens):
                tokens = step.logits.argmax(-1)
                for row in sorted(open_rows):
                    token = int(tokens[row])
                    if token in self.stops:
                        open_rows.discard(row)
                    else:
                        rows[row].append(token)
                if not open_rows or number == self.max_new_tokens - 1:
                    break
                step = advance(self.model, step, tokens)
            written += rows
        return written


def stop_token_ids(model: SlideLanguageModel, prompts: PromptBuilder) -> set[int]:
    """Return the tokens that end an answer: the template's end mark, and the model's own.

    Args:
        model: The model, whose generation configuration names end tokens.
        prompts: Its prompt builder, whose template and tokenizer name theirs.
    """
    named = getattr(model.llm.generation_config, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    known = [prompts.end_token_id, prompts.tokenizer.eos_token_id, *several]
    return {int(token) for token in known if token is not None}
