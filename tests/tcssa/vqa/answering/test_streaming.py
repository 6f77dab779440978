"""An answer that comes token by token."""

from pathlib import Path

import pytest
import torch
from vqa_runs import load_tiny_vqa

from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.answering.streaming import Sampler, stream_tokens

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def test_the_likeliest_tokens_are_those_of_a_whole_answer(tmp_path: Path) -> None:
    loaded = load_tiny_vqa(tmp_path)
    model, prompts = loaded.model, loaded.prompts
    ids = prompts.prompt_ids([prompts.question_turn("What is seen?")], 6)
    prompt = Prompt(ids, torch.randn(6, 16, generator=torch.Generator().manual_seed(1)))
    writer = Generate(model, prompts, max_new_tokens=12)
    (whole,) = writer.tokens([prompt])
    streamed = stream_tokens(model, prompt, Sampler(), stops=writer.stops, max_new_tokens=12)
    assert list(streamed) == whole
    stops = {whole[2]}
    cut = stream_tokens(model, prompt, Sampler(), stops=stops, max_new_tokens=12)
    assert list(cut) == whole[: whole.index(whole[2])]


@pytest.mark.parametrize(
    ("top_p", "expected"), [(0.4, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})]
)
def test_tokens_are_drawn_among_the_likeliest(top_p: float, expected: set[int]) -> None:
    sampler = Sampler(1.0, top_p)
    assert {sampler(LOGITS) for _ in range(300)} == expected


def test_the_seed_decides_and_the_temperature_sharpens() -> None:
    draws = [[sampler(LOGITS) for _ in range(200)] for sampler in (Sampler(1), Sampler(1))]
    assert draws[0] == draws[1]
    assert draws[0] != [Sampler(1, seed=number)(LOGITS) for number in range(200)]
    cool = Sampler(0.25)
    assert [cool(LOGITS) for _ in range(200)].count(0) > draws[0].count(0)
