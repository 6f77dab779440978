"""Letters' likelihoods: equal to brute force, whatever is asked beside them."""

from collections.abc import Sequence

import pytest
import torch
from vqa_runs import load_tiny_vqa

from tcssa.errors import TcssaError
from tcssa.vqa.answering.likelihood import Likelihood, letter_token_ids
from tcssa.vqa.answering.prefill import Prompt, advance, context_length, prefill, shared_length
from tcssa.vqa.answering.reply import Reply
from tcssa.vqa.conversation import LETTERS
from tcssa.vqa.model.run import LoadedVqa

QUESTIONS = [
    ("What is it?", ["lung", "breast", "skin", "colon"]),
    ("Is there any tumour to be seen in this whole slide image, however small?", ["yes", "no"]),
    ("Grade?", ["G1", "G2", "G3"]),
    ("What is it made of?", [f"tissue number {i}" for i in range(26)]),
    ("What is it?", ["lung", "breast", "colon", "skin"]),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedVqa:
    return load_tiny_vqa(tmp_path_factory.mktemp("vqa"))


def slide(loaded: LoadedVqa, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, loaded.model.visual.feature_dim, generator=generator)


def prompts_of(
    loaded: LoadedVqa, visual: torch.Tensor, questions: Sequence[tuple[str, list[str]]] = QUESTIONS
) -> list[Prompt]:
    builder = loaded.prompts
    return [
        Prompt(builder.prompt_ids([builder.question_turn(text, options)], len(visual)), visual)
        for text, options in questions
    ]


@torch.no_grad()
def brute_force(loaded: LoadedVqa, prompt: Prompt, num_options: int) -> list[float]:
    """A whole forward pass for every option: prompt and letter, without any cache."""
    log_probs = []
    for letter in letter_token_ids(loaded.prompts)[:num_options]:
        ids = torch.tensor([[*prompt.ids, letter]])
        embeds = loaded.model.embed(ids, [prompt.visual])
        output = loaded.model.llm(inputs_embeds=embeds, use_cache=False, logits_to_keep=2)
        log_probs.append(float(output.logits[0, 0].double().log_softmax(-1)[letter]))
    total = torch.tensor(log_probs).logsumexp(0)
    return [value - float(total) for value in log_probs]


def replies(loaded: LoadedVqa, prompts: Sequence[Prompt], batch_size: int = 16) -> list[Reply]:
    options = [options for _, options in QUESTIONS][: len(prompts)]
    return Likelihood(loaded.model, loaded.prompts, batch_size).reply(prompts, options)


def test_letters_are_the_tokens_that_an_assistant_writes(loaded: LoadedVqa) -> None:
    ids = letter_token_ids(loaded.prompts)
    assert loaded.prompts.tokenizer.convert_ids_to_tokens(ids) == list(LETTERS)


def test_likelihoods_equal_brute_force(loaded: LoadedVqa) -> None:
    prompts = prompts_of(loaded, slide(loaded))
    for prompt, (_, options), reply in zip(
        prompts, QUESTIONS, replies(loaded, prompts), strict=True
    ):
        wanted = brute_force(loaded, prompt, len(options))
        assert reply.log_probs == pytest.approx(wanted, abs=1e-5)
        assert reply.predicted == wanted.index(max(wanted))
        assert sum(torch.tensor(reply.log_probs).exp()) == pytest.approx(1)
        assert 0 < (reply.option_mass or 0) < 1


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_batch_does_not_matter(loaded: LoadedVqa, batch_size: int) -> None:
    prompts = prompts_of(loaded, slide(loaded))
    for one, other in zip(
        replies(loaded, prompts), replies(loaded, prompts, batch_size), strict=True
    ):
        assert one.predicted == other.predicted
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


def test_the_order_of_questions_does_not_matter(loaded: LoadedVqa) -> None:
    visual = slide(loaded)
    forward = replies(loaded, prompts_of(loaded, visual))
    method = Likelihood(loaded.model, loaded.prompts, 2)
    turned = list(reversed(QUESTIONS))
    backward = method.reply(prompts_of(loaded, visual, turned), [options for _, options in turned])
    for one, other in zip(forward, reversed(backward), strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


def test_another_slide_gives_other_likelihoods(loaded: LoadedVqa) -> None:
    one = replies(loaded, prompts_of(loaded, slide(loaded, 0)))[0]
    other = replies(loaded, prompts_of(loaded, slide(loaded, 1)))[0]
    assert one.log_probs != pytest.approx(other.log_probs, abs=1e-5)


def test_the_slide_is_read_once(loaded: LoadedVqa) -> None:
    prompts = prompts_of(loaded, slide(loaded))
    image = loaded.model.image_token_id
    shared = shared_length(prompts, image)
    assert shared > max(i for i, token in enumerate(prompts[0].ids) if token == image)
    apart = [Prompt(prompt.ids, slide(loaded, seed)) for seed, prompt in enumerate(prompts)]
    assert shared_length(apart, image) == list(prompts[0].ids).index(image)


@torch.no_grad()
def test_prompts_of_different_slides_share_a_batch(loaded: LoadedVqa) -> None:
    prompts = [prompts_of(loaded, slide(loaded, seed))[seed] for seed in range(4)]
    (step,) = prefill(loaded.model, prompts, 4)
    for prompt, logits in zip(prompts, step.logits, strict=True):
        embeds = loaded.model.embed(torch.tensor([list(prompt.ids)]), [prompt.visual])
        alone = loaded.model.llm(inputs_embeds=embeds, use_cache=False).logits[0, -1]
        torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_reading_on_equals_reading_at_once(loaded: LoadedVqa) -> None:
    prompts = prompts_of(loaded, slide(loaded))
    (step,) = prefill(loaded.model, prompts, 16)
    tokens = torch.arange(100, 100 + len(prompts))
    step = advance(loaded.model, step, tokens)
    for row, (prompt, token) in enumerate(zip(prompts, tokens.tolist(), strict=True)):
        ids = torch.tensor([[*prompt.ids, token]])
        embeds = loaded.model.embed(ids, [prompt.visual])
        alone = loaded.model.llm(inputs_embeds=embeds, use_cache=False).logits[0, -1]
        torch.testing.assert_close(step.logits[row], alone, atol=1e-5, rtol=1e-5)


def test_one_option_and_27_are_refused(loaded: LoadedVqa) -> None:
    method = Likelihood(loaded.model, loaded.prompts)
    prompt = prompts_of(loaded, slide(loaded))[0]
    for number in (1, 27):
        with pytest.raises(TcssaError, match=f"a question has {number} options"):
            method.reply([prompt], [["x"] * number])


def test_the_context_is_the_models(loaded: LoadedVqa) -> None:
    assert context_length(loaded.model) == loaded.model.llm.config.max_position_embeddings
