"""Answers of a trained model to some rows, beside what the rows say, to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.model.model_setup import Parts
from tcssa.vqa.prompts.prompt import IGNORED
from tcssa.vqa.training.rows import Row

NUM_SAMPLES = 5


@dataclass(frozen=True)
class Sample:
    """A row's first question, with two answers."""

    slide: str
    question: str
    """What the model was given in words, the marks of the chat template left out."""
    expected: str
    answer: str


def count_right(logits: Tensor, rows: Sequence[Row]) -> int:
    """Count the rows whose learned tokens are all the likeliest.

    To the question of such a row greedy decoding writes the expected answer, word for word.

    Args:
        logits: Logits that predict the learned tokens, row by row [T, vocabulary].
        rows: The rows.
    """
    found = torch.split(logits.argmax(-1).cpu(), [row.num_targets for row in rows])
    learned = [row.labels[row.labels != IGNORED].long() for row in rows]
    return sum(one.equal(other) for one, other in zip(found, learned, strict=True))


@torch.no_grad()
def draw_samples(
    parts: Parts, rows: Sequence[Row], visual: Callable[[Row], Tensor], *, encoded: bool
) -> list[Sample]:
    """Let a model answer the first question of rows of different slides.

    Args:
        parts: The model and its prompt builder.
        rows: Rows to choose from, in order.
        visual: Gives the visual tokens [V, D], or patch features [N, D], of a row's slides.
        encoded: True if ``visual`` gives tokens.
    """
    chosen = list({row.slide_id: row for row in reversed(rows)}.values())[::-1][:NUM_SAMPLES]
    model, prompts = parts.model.eval(), parts.prompts
    device = model.llm.get_input_embeddings().weight.device
    generate = Generate(model, prompts)
    samples = []
    for row in chosen:
        begin, end = _first_answer(row)
        tokens = visual(row).to(device)
        if not encoded:
            tokens, _ = model.see(tokens, row.spans)
        ids = row.input_ids.tolist()
        (answer,) = generate.texts([Prompt(ids[:begin], tokens)])
        asked = generate.decode([token for token in ids[:begin] if token != prompts.image_token_id])
        samples.append(Sample(row.slide_id, asked, generate.decode(ids[begin:end]), answer))
    return samples


def _first_answer(row: Row) -> tuple[int, int]:
    """Return where the first learned tokens in a row begin and end."""
    learned = (row.labels != IGNORED).tolist()
    begin = learned.index(True)
    return begin, next((i for i in range(begin, len(learned)) if not learned[i]), len(learned))
