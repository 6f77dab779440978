"""Written answers: greedy, the same in any batch, and read strictly."""

import pytest
import torch
from vqa_runs import load_tiny_vqa

from tcssa.vqa.answering.generate import Generate, stop_token_ids
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.model.run import LoadedVqa

TEXTS = ["What is it?", "Is there any tumour in this slide?", "Which grade has it, if any?"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedVqa:
    return load_tiny_vqa(tmp_path_factory.mktemp("vqa"))


@pytest.fixture(scope="module")
def prompts(loaded: LoadedVqa) -> list[Prompt]:
    visual = torch.randn(6, loaded.model.visual.feature_dim)
    builder = loaded.prompts
    turns = [builder.question_turn(text) for text in TEXTS]
    return [Prompt(builder.prompt_ids([turn], len(visual)), visual) for turn in turns]


@torch.no_grad()
def greedy(loaded: LoadedVqa, prompt: Prompt, stops: set[int], num: int) -> list[int]:
    """One whole forward pass a token, without any cache."""
    written: list[int] = []
    while len(written) < num:
        ids = torch.tensor([[*prompt.ids, *written]])
        embeds = loaded.model.embed(ids, [prompt.visual])
        token = int(loaded.model.llm(inputs_embeds=embeds, use_cache=False).logits[0, -1].argmax())
        if token in stops:
            break
        written.append(token)
    return written


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_tokens_equal_those_without_a_cache(
    loaded: LoadedVqa, prompts: list[Prompt], batch_size: int
) -> None:
    writer = Generate(loaded.model, loaded.prompts, batch_size, max_new_tokens=5)
    wanted = [greedy(loaded, prompt, writer.stops, 5) for prompt in prompts]
    assert writer.tokens(prompts) == wanted


def test_an_answer_ends_at_the_end_mark(loaded: LoadedVqa, prompts: list[Prompt]) -> None:
    writer = Generate(loaded.model, loaded.prompts, max_new_tokens=5)
    whole = writer.tokens(prompts)
    writer.stops = {whole[0][0]}
    cut = writer.tokens(prompts)
    assert cut[0] == []
    for row, full in zip(cut, whole, strict=True):
        assert writer.stops.isdisjoint(row)
        assert full[: len(row)] == row


def test_the_templates_end_mark_stops(loaded: LoadedVqa) -> None:
    tokenizer = loaded.prompts.tokenizer
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in stop_token_ids(
        loaded.model, loaded.prompts
    )


def test_a_reply_is_what_the_parser_reads_off_the_text(
    loaded: LoadedVqa, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Generate(loaded.model, loaded.prompts, max_new_tokens=4)
    options = [["yes", "no"]] * len(prompts)
    assert [reply.predicted for reply in writer.reply(prompts, options)] == [None] * len(prompts)
    monkeypatch.setattr(writer, "texts", lambda rows: ["B", "Answer: A", "perhaps"])
    assert [reply.predicted for reply in writer.reply(prompts, options)] == [1, 0, None]
