"""All questions about one slide, put to a model at once, wherever the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.vqa.answering.answer_record import AnswerRecord, unanswered
from tcssa.vqa.answering.question_runner import Asker
from tcssa.vqa.answering.reply import Method
from tcssa.vqa.answering.slide_tokens import SlideTokens, UnusableSlideError
from tcssa.vqa.conversation import Question
from tcssa.vqa.endpoint.asked_model import ways_of
from tcssa.vqa.endpoint.served_model import ServedModel
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.prompts.wording import Wording
from tcssa.vqa.settings import EvalOptions


@dataclass(frozen=True)
class SlideQuestions:
    """The questions about a slide, and the other slide that its control sees."""

    slide_id: str
    """The stem of the slide's feature file."""
    path: Path
    questions: tuple[Question, ...]
    other: tuple[str, Path] | None
    """Name and feature file of the other slide; None where there is one slide."""


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
        self._tokens = SlideTokens(loaded, {})

    def ask(self, slide: SlideQuestions) -> SlideAnswers:
        """Ask all questions of a slide, so that a resumed slide is batched as it was before."""
        tokens, name = self._tokens, slide.slide_id
        tokens.paths[name] = slide.path
        if slide.other is not None:
            tokens.paths[slide.other[0]] = slide.other[1]
        records = self._records(slide)
        seen = {name} if slide.other is None else {name, slide.other[0]}
        return SlideAnswers(
            name, records, frozenset(tokens.cached & seen), frozenset(tokens.made & seen)
        )

    def _records(self, slide: SlideQuestions) -> list[AnswerRecord]:
        questions: Sequence[Question] = slide.questions
        try:
            visual = self._tokens.of(slide.slide_id)
        except UnusableSlideError as error:
            return [unanswered(question, error.status, str(error)) for question in questions]
        other = None
        if slide.other is not None:
            try:
                other = slide.other[0], self._tokens.of(slide.other[0])
            except UnusableSlideError:
                other = None
        return self._asker.ask(questions, visual, other)
