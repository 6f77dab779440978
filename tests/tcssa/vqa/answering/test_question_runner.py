"""A question is rendered once, whatever is asked with it."""

import pytest
import torch
from vqa_runs import load_tiny_vqa

from tcssa.errors import ShapeError
from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.likelihood import Likelihood
from tcssa.vqa.answering.prefill import context_length
from tcssa.vqa.answering.question_runner import Asker
from tcssa.vqa.answering.text_likelihood import TextLikelihood
from tcssa.vqa.conversation import Question
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.prompts.prompt import PromptBuilder

OPTIONS = ("lung", "breast", "skin")
CLOSED = Question("1", ("S1",), "What is it?", OPTIONS, "B", "breast", {}, "file.csv, row 1")
OPEN = Question("2", ("S1",), "What is it?", (), None, "a tumour", {}, "file.csv, row 2")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedVqa:
    return load_tiny_vqa(tmp_path_factory.mktemp("vqa"))


def asker_of(loaded: LoadedVqa, method: type = Likelihood, **options: int | bool) -> Asker:
    model, prompts = loaded.model, loaded.prompts
    writer = Generate(model, prompts, max_new_tokens=2)
    settings = {"context": context_length(model), **options}
    return Asker(prompts, method(model, prompts), writer, **settings)  # type: ignore[arg-type]


def tokens(number: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("permute", "renderings"), [(False, 1), (True, 3)])
def test_a_question_is_rendered_once_an_order_and_never_for_a_control(
    loaded: LoadedVqa, permute: bool, renderings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = asker_of(loaded, permute=permute)
    asker.ask([CLOSED], tokens(6), None)  # the letters' tokens are found
    calls = []
    prompt_ids = PromptBuilder.prompt_ids
    monkeypatch.setattr(
        PromptBuilder, "prompt_ids", lambda *given: calls.append(given) or prompt_ids(*given)
    )
    closed, opened = asker.ask([CLOSED, OPEN], tokens(6), ("S2", tokens(4, seed=1)))
    assert len(calls) == renderings + 1
    assert closed.blank is not None
    assert closed.other_slide is not None
    assert closed.other_slide.slide == "S2"
    assert opened.text is not None


def test_the_text_of_an_option_is_tokenised_once(
    loaded: LoadedVqa, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    rows = PromptBuilder.conversation_ids
    monkeypatch.setattr(
        PromptBuilder, "conversation_ids", lambda *given: calls.append(given) or rows(*given)
    )
    asker_of(loaded, TextLikelihood).ask([CLOSED, CLOSED], tokens(6), ("S2", tokens(6, seed=1)))
    assert len(calls) == len(OPTIONS)


def test_a_slide_of_another_length_is_asked_as_if_it_had_been_rendered_for_it(
    loaded: LoadedVqa,
) -> None:
    asker = asker_of(loaded)
    prepared = asker.prepare(CLOSED.text, OPTIONS, 6)
    for number in (1, 4, 6, 9):
        plain = prepared.plain(loaded.prompts.image_token_id, number)
        assert plain.orders == asker.prepare(CLOSED.text, OPTIONS, number).orders
    visual, other = tokens(6), tokens(9, seed=1)
    (record,) = asker.ask([CLOSED], visual, ("S2", other))
    (alone,) = asker.ask([CLOSED], other, None)
    assert record.other_slide is not None
    assert record.other_slide.log_probs == pytest.approx(alone.log_probs, abs=1e-5)


def test_what_is_too_long_with_the_slide_or_with_the_other_one_is_left_out(
    loaded: LoadedVqa,
) -> None:
    length = asker_of(loaded).prepare(CLOSED.text, OPTIONS, 6).length
    fits = asker_of(loaded, context=length)
    (record,) = fits.ask([CLOSED], tokens(6), ("S2", tokens(7, seed=1)))
    assert record.status == "answered"
    assert record.blank is not None
    assert record.other_slide is None
    (record,) = asker_of(loaded, context=length - 1).ask([CLOSED], tokens(6), None)
    assert record.status == "too_long"
    assert record.message == f"{length} tokens with the answer, the model reads {length - 1}"
    assert (record.num_visual, record.predicted) == (6, None)


def test_slides_of_other_lengths_than_what_is_shown_are_refused(loaded: LoadedVqa) -> None:
    with pytest.raises(ShapeError, match="question 1: its slides have 9 visual tokens, 6 are"):
        asker_of(loaded).ask([CLOSED], tokens(6), None, [[6, 3]])
