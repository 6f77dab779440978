"""The length of conversations in a language model's tokens, measured without the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tcssa.errors import (
    AmbiguousFeaturesError,
    MissingFeaturesError,
    NothingToLearnError,
    PromptError,
    RepeatedSlideError,
)
from tcssa.reporter import Reporter
from tcssa.vqa.conversation import Conversation
from tcssa.vqa.data.row_slides import find_slides
from tcssa.vqa.data.slide_index import SlideIndex
from tcssa.vqa.model.llm import load_tokenizer
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate
from tcssa.vqa.settings import SeveralSlides


class LengthLimit(NamedTuple):
    """A language model, and the most tokens that a conversation may have for it."""

    llm: str
    """Folder, GGUF file, or name in the local cache."""
    max_length: int
    num_visual: int
    """Tokens of a slide."""
    system: str | None = None
    trust_remote_code: bool = False


def measure_lengths(
    conversations: Sequence[Conversation],
    limit: LengthLimit,
    reporter: Reporter,
    several: SeveralSlides = "error",
    index: SlideIndex | None = None,
) -> tuple[int, list[tuple[str, str]]]:
    """Measure conversations as training does.

    Args:
        conversations: The rows.
        limit: The language model, and the most tokens.
        reporter: Shows progress.
        several: What several slides of a row become.
        index: Finds all slides of a patient; without one each is taken to have one.

    Returns:
        The tokens of the longest row, and what training would leave out: a kind, and the row with
        the reason.

    Raises:
        LlmError: The language model is not found.
        TemplateError: Its tokenizer or its chat template cannot be used.
    """
    tokenizer = load_tokenizer(limit.llm, trust_remote_code=limit.trust_remote_code)
    prompts = PromptBuilder(tokenizer, ChatTemplate.of(tokenizer), limit.system)
    longest = 0
    wrong: list[tuple[str, str]] = []
    with reporter.task("measuring rows", len(conversations), "rows") as task:
        for row in conversations:
            try:
                places = _places(row, limit.num_visual, several, index)
                length = len(prompts.conversation_ids(row.turns, places).input_ids)
            except NothingToLearnError as error:
                wrong.append(("nothing to learn", f"{row.source}: {error}"))
            except PromptError as error:
                wrong.append(("no conversation", f"{row.source}: {error}"))
            else:
                longest = max(longest, length)
                if length > limit.max_length:
                    detail = f"{row.source} ({row.row_id}): {length} tokens"
                    wrong.append((f"longer than {limit.max_length} tokens", detail))
            task.advance()
    return longest, wrong


def _places(
    row: Conversation, num_visual: int, several: SeveralSlides, index: SlideIndex | None
) -> list[int]:
    """Return how many visual tokens stand at each slide or patient that a row names."""
    if index is not None:
        try:
            slides = find_slides(row.slides, index)
        except (MissingFeaturesError, AmbiguousFeaturesError, RepeatedSlideError):
            pass  # told of already; its length is that of the slides it names
        else:
            return slides.places([num_visual] * len(slides.parts))
    if several == "merge":
        return [num_visual, *[0] * (len(row.slides) - 1)]
    return [num_visual] * len(row.slides)
