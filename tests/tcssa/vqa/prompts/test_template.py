"""Chat templates: understood to the letter, or refused."""

from copy import copy
from typing import Any

import pytest
from vqa_models import qwen3_tokenizer

from tcssa.errors import TemplateError
from tcssa.vqa.conversation import Turn
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate

TALK = [
    Turn("user", "What do you see?"),
    Turn("assistant", "A tumour.\nIt is large."),
    Turn("user", "Of which kind?\n\nBe brief."),
    Turn("assistant", "LUAD"),
]
SYSTEM = Turn("system", "You are a pathologist.")
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"

PLAIN_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SYSTEM_OF_ITS_OWN = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}"
    "{% endif %}"
) + PLAIN_CHATML
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ '<|object_ref_start|>' }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<|box_start|>' + m['content'] | trim + '\n' }}{% else %}"
    "{{ '<|quad_start|>' + m['content'] | trim + '<|quad_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|quad_start|>' }}{% endif %}"
)
UPPER_CASE = PLAIN_CHATML.replace("m['content']", "m['content'] | upper")
ANSWERS_NUMBERED = PLAIN_CHATML.replace("m['role'] +", "m['role'] + (loop.index | string) +")
ENDLESS = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def with_template(template: str | None) -> Any:
    """The Qwen3 tokenizer with another chat template."""
    tokenizer = copy(qwen3_tokenizer())
    tokenizer.chat_template = template
    return tokenizer


def stock_ids(tokenizer: Any, turns: list[Turn], *, ask: bool = False) -> list[int]:
    """What the tokenizer's own template makes of a conversation."""
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    return list(
        tokenizer.apply_chat_template(
            messages, add_generation_prompt=ask, enable_thinking=False, return_dict=False
        )
    )


@pytest.mark.parametrize("system", [[], [SYSTEM]], ids=["no-system", "system"])
def test_qwen3_one_turn_is_the_stock_template_token_by_token(system: list[Turn]) -> None:
    tokenizer = qwen3_tokenizer()
    prompts = PromptBuilder(tokenizer, ChatTemplate.of(tokenizer))
    turns = [*system, *TALK[:2]]
    assert prompts.conversation_ids(turns, 0).input_ids == stock_ids(tokenizer, turns)
    assert prompts.prompt_ids(turns[:-1], 0) == stock_ids(tokenizer, turns[:-1], ask=True)


@pytest.mark.parametrize("system", [[], [SYSTEM]], ids=["no-system", "system"])
def test_qwen3_several_turns_are_the_stock_template_with_thinking_off_in_each(
    system: list[Turn],
) -> None:
    # stock drops the empty thought from earlier turns: answers would be learned after other tokens
    # than they follow when the model is asked
    tokenizer = qwen3_tokenizer()
    prompts = PromptBuilder(tokenizer, ChatTemplate.of(tokenizer))
    turns = [*system, *TALK]
    ours = prompts.conversation_ids(turns, 0).input_ids
    thought = tokenizer(EMPTY_THOUGHT, add_special_tokens=False)["input_ids"]
    starts = [i for i in range(len(ours)) if ours[i : i + len(thought)] == thought]
    assert len(starts) == 2
    assert ours[: starts[0]] + ours[starts[0] + len(thought) :] == stock_ids(tokenizer, turns)


@pytest.mark.parametrize("template", [PLAIN_CHATML, SYSTEM_OF_ITS_OWN, NO_SYSTEM])
@pytest.mark.parametrize("num_turns", [1, 2, 3, 4])
def test_other_templates_are_followed_token_by_token(template: str, num_turns: int) -> None:
    tokenizer = with_template(template)
    prompts = PromptBuilder(tokenizer, ChatTemplate.of(tokenizer))
    for system in [[]] if template is NO_SYSTEM else [[], [SYSTEM]]:
        turns = [*system, *TALK[:num_turns]]
        if turns[-1].role == "assistant":
            assert prompts.conversation_ids(turns, 0).input_ids == stock_ids(tokenizer, turns)
        else:
            assert prompts.prompt_ids(turns, 0) == stock_ids(tokenizer, turns, ask=True)


@pytest.mark.parametrize("template", [None, PLAIN_CHATML, SYSTEM_OF_ITS_OWN, NO_SYSTEM])
def test_our_mask_is_the_one_that_transformers_makes_of_our_jinja(template: str | None) -> None:
    tokenizer = with_template(template) if template else copy(qwen3_tokenizer())
    marks = ChatTemplate.of(tokenizer)
    prompts = PromptBuilder(tokenizer, marks)
    for system in [[]] if template is NO_SYSTEM else [[], [SYSTEM]]:
        for turns in ([*system, *TALK[:2]], [*system, *TALK]):
            ours = prompts.conversation_ids(turns, 0)
            theirs = tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.text} for turn in turns],
                chat_template=marks.jinja(),
                tokenize=True,
                return_dict=True,
                return_assistant_tokens_mask=True,
            )
            assert ours.input_ids == list(theirs["input_ids"])
            assert [label != -100 for label in ours.labels] == [
                bool(flag) for flag in theirs["assistant_masks"]
            ]
            assert sum(theirs["assistant_masks"]) == ours.num_supervised > 0


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "brings no chat template"),
        (UPPER_CASE, "not made of fixed marks"),
        (ANSWERS_NUMBERED, "not made of fixed marks"),
        (ENDLESS, "no special token ends an answer"),
    ],
)
def test_a_template_that_is_not_understood_is_refused(template: str | None, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        ChatTemplate.of(with_template(template))


def test_a_system_prompt_is_refused_where_the_model_takes_none() -> None:
    tokenizer = with_template(NO_SYSTEM)
    with pytest.raises(TemplateError, match="takes no system prompt"):
        PromptBuilder(tokenizer, ChatTemplate.of(tokenizer), system="Be kind.").prompt_ids(
            TALK[:1], 0
        )
