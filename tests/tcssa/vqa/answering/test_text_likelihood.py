"""Texts' likelihoods: equal to brute force, whatever is asked beside them."""

from collections.abc import Sequence

import pytest
import torch
from pydantic import ValidationError
from vqa_runs import load_tiny_vqa

from tcssa.errors import TcssaError
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.answering.text_likelihood import TextLikelihood
from tcssa.vqa.conversation import Turn
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.settings import EvalOptions

QUESTIONS = [
    ("What is it?", ["adenocarcinoma of the lung", "lung", "no tumour at all, as far as is seen"]),
    ("Is there any tumour to be seen in this whole slide image?", ["yes", "no"]),
    ("What is it?", ["lung", "breast", "skin", "colon"]),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedVqa:
    return load_tiny_vqa(tmp_path_factory.mktemp("vqa"))


@pytest.fixture(scope="module")
def visual(loaded: LoadedVqa) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, loaded.model.visual.feature_dim, generator=generator)


def prompts_of(loaded: LoadedVqa, visual: torch.Tensor) -> list[Prompt]:
    builder = loaded.prompts
    return [
        Prompt(builder.prompt_ids([builder.question_turn(text)], len(visual)), visual)
        for text, _ in QUESTIONS
    ]


@torch.no_grad()
def brute_force(
    loaded: LoadedVqa, visual: torch.Tensor, text: str, options: Sequence[str]
) -> list[float]:
    """A whole forward pass over question and answer, summed where the assistant speaks."""
    sums = []
    for option in options:
        turns = [loaded.prompts.question_turn(text), Turn("assistant", option)]
        row = loaded.prompts.conversation_ids(turns, len(visual))
        embeds = loaded.model.embed(torch.tensor([row.input_ids]), [visual])
        logits = loaded.model.llm(inputs_embeds=embeds, use_cache=False).logits[0].double()
        log_probs = logits.log_softmax(-1)
        sums.append(
            sum(
                float(log_probs[place - 1, label])
                for place, label in enumerate(row.labels)
                if label >= 0
            )
        )
    total = float(torch.tensor(sums).logsumexp(0))
    return [value - total for value in sums]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_equals_a_whole_pass_for_every_option(
    batch_size: int, loaded: LoadedVqa, visual: torch.Tensor
) -> None:
    method = TextLikelihood(loaded.model, loaded.prompts, batch_size)
    replies = method.reply(prompts_of(loaded, visual), [options for _, options in QUESTIONS])
    for reply, (text, options) in zip(replies, QUESTIONS, strict=True):
        expected = brute_force(loaded, visual, text, options)
        assert reply.log_probs == pytest.approx(expected, abs=1e-4)
        assert reply.predicted == expected.index(max(expected))
        assert 0 < (reply.option_mass or 0) < 1


def test_the_answer_is_the_text_and_what_ends_it(loaded: LoadedVqa) -> None:
    method = TextLikelihood(loaded.model, loaded.prompts)
    ids = method.answer_ids("breast")
    assert loaded.prompts.tokenizer.decode(ids[:-1]) == "breast"
    assert ids[-1] == loaded.prompts.end_token_id
    assert method.room(["breast", "a much longer answer"]) > len(ids)
    with pytest.raises(TcssaError, match="a question has 1 options"):
        method.reply([], [["alone"]])


def test_options_that_are_not_shown_have_no_order() -> None:
    with pytest.raises(ValidationError, match="--permute has no meaning with --method text"):
        EvalOptions(method="text", permute=True)
