"""Chat templates of several families: what is read, what is learned, and what is asked.

The templates are the families' own marks in their shortest form. The tokenizers are of the
families' kinds with a small vocabulary: bytes, or SentencePiece's with a space before a text.
"""

import string
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from vqa_models import byte_tokenizer

from tcssa.errors import PromptError, TemplateError
from tcssa.vqa.answering.likelihood import letter_token_ids
from tcssa.vqa.conversation import Turn
from tcssa.vqa.prompts.prompt import IGNORED, PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate

EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
TALK = [
    Turn("user", "What do you see?"),
    Turn("assistant", "A tumour.\nIt is large."),
    Turn("user", "Of which kind?\n\nBe brief."),
    Turn("assistant", "LUAD"),
]
SYSTEM = Turn("system", "You are a pathologist.")

_EACH = "{% for m in messages %}{% if m.role == 'user' %}{{ USER }}{% elif m.role == 'assistant' %}"
_EACH += "{{ SAID }}{% else %}{{ SYSTEM }}{% endif %}{% endfor %}"
_ASK = "{% if add_generation_prompt %}{{ ASK }}{% endif %}"


def program(begin: str = "", /, more: str = _ASK, **parts: str) -> str:
    """A template of a mark at the beginning and one around each turn."""
    made = f"{begin}{_EACH}{more}"
    for name, part in {"SYSTEM": "raise_exception('no system')", **parts}.items():
        made = made.replace(name, part)
    return made


MISTRAL = program(
    "{{ bos_token }}",
    more="",
    USER="'[INST] ' + m.content + ' [/INST]'",
    SAID="' ' + m.content + eos_token",
)
MISTRAL_WITH_SYSTEM = (
    "{% set talk = messages[1:] if messages[0].role == 'system' else messages %}{{ bos_token }}"
    "{% for m in talk %}{% if m.role == 'user' %}{{ '[INST] ' }}"
    "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}"
    "{% endif %}"
    "{{ m.content + '[/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
VICUNA = (
    "{% if messages[0].role == 'system' %}{{ messages[0].content + ' ' }}{% else %}"
    "{{ 'A chat of a person and an assistant. ' }}{% endif %}"
) + program(
    USER="'USER: ' + m.content",
    SAID="' ASSISTANT: ' + m.content + eos_token",
    SYSTEM="''",
    ASK="' ASSISTANT:'",
)
PHI3 = program(
    USER="'<|user|>\n' + m.content + '<|end|>\n'",
    SAID="'<|assistant|>\n' + m.content + '<|end|>\n'",
    SYSTEM="'<|system|>\n' + m.content + '<|end|>\n'",
    more="{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}",
)
DEEPSEEK_R1 = program(
    "{{ bos_token }}",
    USER="'<|User|>' + m.content",
    SAID="'<|Assistant|>' + m.content + eos_token",
    SYSTEM="m.content",
    ASK="'<|Assistant|><think>\n'",
)
QWEN3_THINKING = program(
    USER="'<|im_start|>user\n' + m.content + '<|im_end|>\n'",
    SAID="'<|im_start|>assistant\n' + (EMPTY if loop.last else '') + m.content + '<|im_end|>\n'",
    SYSTEM="'<|im_start|>system\n' + m.content + '<|im_end|>\n'",
    ASK="'<|im_start|>assistant\n<think>\n'",
    EMPTY=repr(EMPTY_THOUGHT),
)


@cache
def sentencepiece(*added: str, scheme: str = "normalizer", strips: bool = False) -> Any:
    """A tokenizer of Llama's kind: a space is ▁, and stands before letters and texts."""
    letters = string.ascii_letters + string.digits + string.punctuation + "▁"
    words = [f"▁{letter}" for letter in string.ascii_letters]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *words]
    merges = [("▁", letter) for letter in string.ascii_letters]
    backend = Tokenizer(
        models.BPE(
            {token: index for index, token in enumerate(tokens)},
            merges,
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    if scheme == "normalizer":
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        backend.normalizer = normalizers.Sequence(steps)
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", scheme, False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.add_tokens([AddedToken(text, special=True, rstrip=strips) for text in added])
    return tokenizer


@cache
def deepseek() -> Any:
    """A tokenizer of bytes with DeepSeek's marks."""
    tokenizer = deepcopy(byte_tokenizer())  # whose backend a copy would share
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|User|>", "<|Assistant|>", "<|place|>"]}
    )
    tokenizer.bos_token, tokenizer.eos_token = "<|box_start|>", "<|box_end|>"
    return tokenizer


@dataclass(frozen=True)
class Family:
    """A family's tokenizer and template."""

    tokenizer: Any
    template: str
    takes_system: bool = False
    thinks: bool = False
    tail: str = ""

    def builder(self) -> PromptBuilder:
        return PromptBuilder(self.told(), ChatTemplate.of(self.told()))

    def told(self) -> Any:
        tokenizer = copy(self.tokenizer)
        tokenizer.chat_template = self.template
        return tokenizer

    def stock(self, turns: list[Turn], *, ask: bool = False) -> list[int]:
        """Tokens of the family's own program and tokenizer, but for what ends it."""
        tokenizer = self.told()
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
        text = text if ask else text.removesuffix(self.tail)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])


INST = ("[INST]", "[/INST]", "[control_8]")
PHI_MARKS = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|placeholder1|>")
FAMILIES = {
    "mistral-v1": Family(sentencepiece(), MISTRAL),
    "mistral-v3": Family(sentencepiece(*INST, scheme="first"), MISTRAL),
    "mistral-system": Family(sentencepiece(*INST, scheme="first"), MISTRAL_WITH_SYSTEM),
    "vicuna": Family(sentencepiece(), VICUNA, takes_system=True),
    "phi-3": Family(sentencepiece(*PHI_MARKS, strips=True), PHI3, takes_system=True, tail="</s>"),
    "deepseek-r1": Family(deepseek(), DEEPSEEK_R1, takes_system=True, thinks=True),
    "qwen3-thinking": Family(byte_tokenizer(), QWEN3_THINKING, takes_system=True, thinks=True),
}
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def without_thoughts(ids: list[int], family: Family) -> list[int]:
    """Take every empty thought out of a conversation's tokens."""
    thought = list(family.tokenizer(EMPTY_THOUGHT, add_special_tokens=False)["input_ids"])
    while family.thinks and (starts := [
        i for i in range(len(ids)) if ids[i : i + len(thought)] == thought
    ]):  # fmt: skip
        ids = ids[: starts[0]] + ids[starts[0] + len(thought) :]
    return ids


@each_family
@pytest.mark.parametrize("num_turns", [2, 4])
def test_a_conversation_is_the_family_s_own_token_by_token(family: Family, num_turns: int) -> None:
    prompts = family.builder()
    for first in ([], [SYSTEM]) if family.takes_system else ([],):
        turns = [*first, *TALK[:num_turns]]
        ours = prompts.conversation_ids(turns, 0).input_ids
        stock = family.stock(turns)
        assert without_thoughts(ours, family) == without_thoughts(stock, family)
        asked = prompts.prompt_ids(turns[:-1], 0)
        assert asked == ours[: len(asked)]
        if not family.thinks:
            assert asked == family.stock(turns[:-1], ask=True)


@each_family
def test_learned_are_the_assistant_s_words_and_their_end(family: Family) -> None:
    prompts = family.builder()
    row = prompts.conversation_ids(TALK, 0)
    learned: list[list[int]] = []
    for place, label in enumerate(row.labels):
        if label == IGNORED:
            continue
        assert label == row.input_ids[place]
        if row.labels[place - 1] == IGNORED:
            learned.append([])
        learned[-1].append(label)
    said = [
        prompts.tokenizer.decode(words[:-1], skip_special_tokens=False).strip() for words in learned
    ]
    assert said == [TALK[1].text, TALK[3].text]
    assert all(words[-1] == prompts.end_token_id for words in learned)


@each_family
def test_an_answer_is_asked_for_where_it_was_learned(family: Family) -> None:
    prompts = family.builder()
    asked = prompts.prompt_ids([prompts.question_turn("What?", ("a", "b"))], 3)
    assert asked.count(prompts.image_token_id) == 3
    if family.thinks:
        text = prompts.tokenizer.decode(asked, skip_special_tokens=False)
        assert text.endswith(EMPTY_THOUGHT)
    letters = letter_token_ids(prompts)
    assert len(set(letters)) == 26


@pytest.mark.parametrize("name", ["mistral-v1", "mistral-v3", "mistral-system"])
def test_a_system_prompt_that_is_a_part_of_a_user_s_turn_is_refused(name: str) -> None:
    family = FAMILIES[name]
    tokenizer = family.told()
    template = ChatTemplate.of(tokenizer)
    with pytest.raises(TemplateError, match="takes no system prompt"):
        PromptBuilder(tokenizer, template, system="Be kind.").prompt_ids(TALK[:1], 0)
    with pytest.raises(PromptError, match="has a system prompt, and this model takes none"):
        PromptBuilder(tokenizer, template).conversation_ids([SYSTEM, *TALK], 0)


def test_what_a_model_thinks_with_other_words_is_refused() -> None:
    template = QWEN3_THINKING.replace("assistant\n<think>\n", "assistant\nHm: <think>\n")
    with pytest.raises(TemplateError, match="not made of fixed marks"):
        Family(byte_tokenizer(), template).builder()


def test_marks_that_were_saved_before_keep_their_hash() -> None:
    template = ChatTemplate.of(byte_tokenizer())
    assert "before_answer" not in template.model_dump()
    mistral = ChatTemplate.of(FAMILIES["mistral-v1"].told())
    assert mistral.before_answer == " "
    assert ChatTemplate.model_validate(mistral.model_dump()) == mistral
