"""The one prompt builder, used by training, benchmarks and `tcssa ask` alike.

The words of each side are plain text: a special token written in them is spelled out, it neither
ends a turn nor stands for a slide. Only the assistant's words, and the token that ends them, are
learned.

A stretch between two special tokens is tokenised as a whole, as the tokenizer itself would do it;
only where the assistant begins is it cut, because there the prompt ends when the model is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tcssa.errors import NothingToLearnError, PromptError, TemplateError
from tcssa.vqa.conversation import IMAGE_MARK, Turn, marks_fit
from tcssa.vqa.prompts.plain_text import After, TextEncoder
from tcssa.vqa.prompts.template import ChatTemplate, Piece
from tcssa.vqa.prompts.wording import OWN

IGNORED = -100
"""The label of a token that is not learned."""
_IMAGE_TOKENS = ("<|image_pad|>", "<|image|>", "<image>", "<|reserved_special_token_0|>")


@dataclass(frozen=True)
class Supervised:
    """A conversation as tokens, with the labels of those that are learned."""

    input_ids: list[int]
    """[L], one placeholder for each visual token."""
    labels: list[int]
    """[L]: the token itself where the assistant speaks or ends its turn, else -100."""
    num_supervised: int
    """Labels that are not -100; at least 2."""


class PromptBuilder:
    """Builds prompts and training rows for one tokenizer.

    Args:
        tokenizer: A fast tokenizer of transformers, hence Any.
        template: The marks around each side's words.
        system: System prompt; None leaves it to the template.
        image_token: The token that visual tokens replace; chosen if not given. It is one that the
            vocabulary has, so the model's embeddings keep their size.

    Attributes:
        image_token_id: Id of `image_token`.
        end_token_id: Id of the token that ends the assistant's turn.
        pad_token_id: A token to fill up rows with; never `image_token_id`.

    Raises:
        TemplateError: The tokenizer cannot be used, has no token to spare, or the model takes no
            system prompt.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        system: str | None = None,
        image_token: str | None = None,
    ) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.system = system.strip() if system else None
        self._text = TextEncoder(tokenizer)
        self.image_token = image_token or _spare_token(tokenizer, self._text.special, template)
        self.image_token_id = self._id_of(self.image_token)
        self.end_token_id = self._id_of(template.end)
        pad = tokenizer.pad_token_id
        self.pad_token_id = self.end_token_id if pad in (None, self.image_token_id) else int(pad)
        self._verify()

    def question_turn(self, text: str, options: Sequence[str] = ()) -> Turn:
        """Build the turn of a question about a slide in the project's own wording.

        Args:
            text: The question.
            options: Its options, lettered from A; none for an open question.
        """
        return OWN.turn(text, options)

    def conversation_ids(
        self, turns: Sequence[Turn], num_visual: int | Sequence[int]
    ) -> Supervised:
        """Tokenise a whole conversation, to learn from.

        Args:
            turns: A system prompt, if it has one of its own, then user and assistant by turns.
            num_visual: Visual tokens of the slide; 0 for a conversation about none. Of several
                slides those of each, which are 0 where another slide's tokens are of all of them.

        Raises:
            NothingToLearnError: The assistant says nothing.
            PromptError: There is no turn, user and assistant do not alternate, or it is not clear
                where several slides stand.
        """
        ids, learned = self._encode(self.template.pieces(self._checked(turns)), num_visual)
        if not any(learned):
            raise NothingToLearnError("the assistant says nothing that could be learned")
        labels = [token if flag else IGNORED for token, flag in zip(ids, learned, strict=True)]
        return Supervised(ids, labels, sum(learned))

    def prompt_ids(self, turns: Sequence[Turn], num_visual: int | Sequence[int]) -> list[int]:
        """Tokenise a conversation up to where the assistant is to speak.

        Args:
            turns: As for `conversation_ids`, but the last is the user's.
            num_visual: As for `conversation_ids`.

        Raises:
            PromptError: There is no turn, user and assistant do not alternate, the last turn is
                not the user's, or it is not clear where several slides stand.
        """
        checked = self._checked(turns)
        if checked[-1].role != "user":
            raise PromptError("a prompt ends with the user's turn, not the assistant's")
        return self._encode(self.template.pieces(checked, ask=True), num_visual)[0]

    def _checked(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return the turns with their system prompt, stripped of white space around them."""
        kept = [Turn(turn.role, turn.text.strip()) for turn in turns]
        if self.template.before_system is None and kept and kept[0].role == "system":
            raise PromptError("it has a system prompt, and this model takes none")
        if self.system and (not kept or kept[0].role != "system"):
            kept.insert(0, Turn("system", self.system))
        talk = kept[1:] if kept and kept[0].role == "system" else kept
        if not talk:
            raise PromptError("there is no turn")
        for place, turn in enumerate(talk):
            expected = ("user", "assistant")[place % 2]
            if turn.role != expected:
                raise PromptError(f"turn {place + 1} is the {turn.role}'s, not the {expected}'s")
        return kept

    def _encode(
        self, pieces: Iterable[Piece], num_visual: int | Sequence[int]
    ) -> tuple[list[int], list[bool]]:
        """Tokenise pieces, and tell which tokens are learned."""
        ids: list[int] = []
        learned: list[bool] = []
        run, run_is_learned = "", False
        after: After = "nothing"

        def add(found: Sequence[int], is_learned: bool) -> None:
            ids.extend(found)
            learned.extend([is_learned] * len(found))

        for text, special, is_learned in self._stretches(pieces, num_visual):
            if special is not None or is_learned != run_is_learned:
                add(self._text.plain(run, after), run_is_learned)
                after = "text" if run else after
                run, run_is_learned = "", is_learned
            if special is None:
                strips = not run and after == "special" and ids[-1] in self._text.stripping
                run += text.lstrip() if strips else text
            else:
                add([special], is_learned)
                after = "special"
        add(self._text.plain(run, after), run_is_learned)
        return ids, learned

    def _stretches(
        self, pieces: Iterable[Piece], num_visual: int | Sequence[int]
    ) -> Iterator[tuple[str, int | None, bool]]:
        """Yield text and special tokens: the text, the id of a special one, if it is learned."""
        pieces = list(pieces)
        said = [piece.text for piece in pieces if piece.speaker == "user"]
        counts = [num_visual] if isinstance(num_visual, int) else num_visual
        shown = iter(_around_slides(said, counts))
        for piece in pieces:
            if piece.speaker is None:
                for part, special in self._text.marks(piece.text):
                    yield part, special, piece.is_learned
                continue
            user = next(shown, None) if piece.speaker == "user" else None
            for text, count in [(piece.text, 0)] if user is None else user:
                yield text, None, piece.is_learned
                for _ in range(count):
                    yield self.image_token, self.image_token_id, False

    def _id_of(self, token: str) -> int:
        if token not in self._text.special:
            raise TemplateError(f"the tokenizer has no special token {token!r}")
        return self._text.special[token]

    def _verify(self) -> None:
        """Compare with the tokenizer itself, on a conversation in which nothing is special."""
        turns = self._checked([Turn("user", "Is it?"), Turn("assistant", "Yes, it is.")])
        if self.template == ChatTemplate.without_marks(self.template.end):
            turns = turns[:1]  # the tokenizer sees no border between the two
        ids, _ = self._encode(self.template.pieces(turns), 0)
        text = self.template.render(turns)
        stock = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if ids != stock:
            raise TemplateError(
                "the tokenizer does not tokenise each part of a conversation by itself",
                hint="use a model with a byte-level tokenizer, as Qwen3 or SmolLM2-Instruct",
            )


_Shown = list[tuple[str, int]]
"""A user's words in pieces, with the visual tokens behind each."""


def _around_slide(text: str, num_visual: int) -> _Shown:
    """Split a user's words at the slide; all come after it if nothing marks its place."""
    before, mark, after = text.partition(IMAGE_MARK)
    if not num_visual:
        return [(f"{before}{after}".strip() if mark else text, 0)]
    return [(before, num_visual), (after, 0)] if mark else [("", num_visual), (f"\n{text}", 0)]


def _around_slides(said: Sequence[str], num_visual: Sequence[int]) -> list[_Shown]:
    """Split what a user says at the slides: several each at its mark, or all at the only one.

    Raises:
        PromptError: Several slides have more marks than one, and not one each.
    """
    if len(num_visual) == 1:
        return [_around_slide(text, num_visual[0]) for text in said[:1]]
    num_marks = sum(text.count(IMAGE_MARK) for text in said)
    if not marks_fit(num_marks, len(num_visual)):
        raise PromptError(
            f"it has {num_marks} {IMAGE_MARK} for {len(num_visual)} slides",
            hint="write one for each slide, one for all of them, or none",
        )
    if num_marks == 0:
        return [_around_slide(said[0], sum(num_visual)), *([(text, 0)] for text in said[1:])]
    counts = iter([sum(num_visual)] if num_marks == 1 else num_visual)
    shown = []
    for text in said:
        *before, last = text.split(IMAGE_MARK)
        shown.append([*((part, next(counts)) for part in before), (last, 0)])
    return shown


def _spare_token(tokenizer: Any, special: Iterable[str], template: ChatTemplate) -> str:
    """Choose a special token that no conversation needs: one meant for images, else the last.

    The last resort is the token of what cannot be spelled, where bytes spell everything.
    """
    spare = [token for token in special if _is_spare(token, tokenizer, template)]
    if not spare and getattr(tokenizer.backend_tokenizer.model, "byte_fallback", False):
        spare = [tokenizer.unk_token] if tokenizer.unk_token in special else []
    if not spare:
        raise TemplateError(
            "the tokenizer has no special token to spare for slides",
            hint="use a model whose tokenizer has one, as Qwen3's <|image_pad|>",
        )
    meant = [token for token in _IMAGE_TOKENS if token in spare]
    return meant[0] if meant else spare[-1]


def _is_spare(token: str, tokenizer: Any, template: ChatTemplate) -> bool:
    in_use = {*tokenizer.special_tokens_map.values()}
    marks = "".join(str(mark) for mark in template.model_dump().values())
    return token not in in_use and token not in marks
