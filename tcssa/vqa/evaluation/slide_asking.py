"""All questions about one slide, put to a model at once, wherever the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from tcssa.vqa.answering.answer_record import AnswerRecord, unanswered
from tcssa.vqa.answering.question_runner import Asker
from tcssa.vqa.answering.reply import Method
from tcssa.vqa.answering.slide_tokens import SlideTokens, UnusableSlideError
from tcssa.vqa.conversation import Question
from tcssa.vqa.data.row_slides import RowSlides, name_of
from tcssa.vqa.endpoint.asked_model import ways_of
from tcssa.vqa.endpoint.served_model import ServedModel
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.prompts.wording import Wording
from tcssa.vqa.settings import EvalOptions


@dataclass(frozen=True)
class SlideQuestions:
    """The questions about a slide, or several together, and the other that the control sees."""

    slides: RowSlides
    questions: tuple[Question, ...]
    images: tuple[tuple[int, ...], ...]
    """Of each question, the parts of each slide or patient that it names; see `RowSlides`."""
    other: RowSlides | None
    """The other slide, or several together; None where all others share a slide with it."""

    @property
    def slide_id(self) -> str:
        """The slide by its feature file, or all of them."""
        return self.slides.name


@dataclass(frozen=True)
class SlideAnswers:
    """The answers about a slide."""

    slide_id: str
    records: list[AnswerRecord]
    cached: frozenset[str] = frozenset()
    """Slides whose tokens the training's cache had, of this one and the other."""
    made: frozenset[str] = frozenset()
    """Slides whose tokens were made."""


class SlideAsker:
    """Asks a model about one slide after another.

    Args:
        loaded: The model.
        served: Its language model, where a server holds it.
        options: How to ask.
        wording: How questions and options are written.
    """

    def __init__(
        self,
        loaded: LoadedVqa,
        served: ServedModel | None,
        options: EvalOptions,
        wording: Wording,
    ) -> None:
        ways = ways_of(loaded, served, options.batch_size, options.max_new_tokens)
        methods: dict[str, Method] = {
            "likelihood": ways.letters,
            "text": ways.texts,
            "generate": ways.writer,
        }
        self._asker = Asker(
            loaded.prompts,
            methods[options.method],
            ways.writer,
            ways.context,
            permute=options.permute,
            wording=wording,
        )
        self._tokens = SlideTokens(loaded)

    def ask(self, slide: SlideQuestions) -> SlideAnswers:
        """Ask all questions of a slide, so that a resumed slide is batched as it was before."""
        tokens, records = self._tokens, self._records(slide)
        both = [slide.slides] if slide.other is None else [slide.slides, slide.other]
        seen = {name_of(part) for slides in both for part in slides.parts}
        return SlideAnswers(
            slide.slide_id, records, frozenset(tokens.cached & seen), frozenset(tokens.made & seen)
        )

    def _records(self, slide: SlideQuestions) -> list[AnswerRecord]:
        questions: Sequence[Question] = slide.questions
        try:
            parts = self._tokens.of(slide.slides)
        except UnusableSlideError as error:
            return [unanswered(question, error.status, str(error)) for question in questions]
        other = None
        if slide.other is not None:
            try:
                other = slide.other.name, torch.cat(self._tokens.of(slide.other))
            except UnusableSlideError:
                other = None
        lengths = [len(part) for part in parts]
        places = [replace(slide.slides, images=each).places(lengths) for each in slide.images]
        return self._asker.ask(questions, torch.cat(parts), other, places)
