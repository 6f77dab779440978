"""A conversation about one slide: `tcssa chat` as one call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tcssa.errors import UsageError
from tcssa.features.folder import may_be_bag
from tcssa.reporter import Reporter
from tcssa.slides.image.small_picture import picture_beside
from tcssa.vqa.answering.streaming import Sampler
from tcssa.vqa.conversation import Turn
from tcssa.vqa.explain.ask import opened_slide
from tcssa.vqa.explain.chat_page import write_chat_page
from tcssa.vqa.explain.chat_settings import ChatSettings
from tcssa.vqa.explain.slide_session import Answer, SlideOracle


def chat(
    run: Path,
    slide: Path,
    questions: Iterable[str],
    reporter: Reporter,
    settings: ChatSettings | None = None,
    *,
    write: Callable[[str], None],
    told: Callable[[Answer], None],
    html: Path | None = None,
) -> list[Answer]:
    """Talk about one slide, turn by turn; every answer is given with all that was said before.

    Args:
        run: A run directory of train-vqa.
        slide: The slide's patch features, or its file, whose features are then extracted.
        questions: What the user says, taken one by one; the end of it ends the conversation.
        reporter: Shows progress, and warns of a turn that the model has no room for.
        settings: How to answer.
        write: Given an answer's text piece by piece, as it comes.
        told: Given every answer when it is complete, with the slots that it rests on.
        html: Page that keeps the conversation with its maps, written anew after each turn.

    Returns:
        The answers.

    Raises:
        UsageError: The features are of another encoder, or the run gives no such budget.
        FeatureFileError: The features cannot be read, or are of another length.
        RunError: The run cannot be loaded.
    """
    settings = settings or ChatSettings()
    places = {"features" if may_be_bag(slide) else "slide": slide}
    sampler = Sampler(settings.temperature, settings.top_p, settings.seed)
    turns = [Turn("system", settings.system)] if settings.system else []
    answers: list[Answer] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        opened_slide(run, reporter, settings, **places) as oracle,
    ):
        for question in questions:
            turn = Turn("user", question)
            if not answers:
                turn = oracle.asker.wording.turn(question)
            try:
                answer = oracle.converse([*turns, turn], question, sampler, write, settings.explain)
            except UsageError as error:
                reporter.warn(str(error))
                continue
            turns += [turn, Turn("assistant", answer.text)]
            answers.append(answer)
            if html is not None:
                _draw(oracle, answer, Path(scratch) / f"{len(answers)}.png")
                write_chat_page(html, answers, settings, run, Path(scratch))
            told(answer)
    return answers


def _draw(oracle: SlideOracle, answer: Answer, path: Path) -> None:
    oracle.draw(answer, path, picture_beside(oracle.path))
