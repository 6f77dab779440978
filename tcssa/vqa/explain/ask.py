"""One question about one slide, or about several at once: `tcssa ask` as one call."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tcssa.errors import RunError, UsageError
from tcssa.files import atomic
from tcssa.plugins import is_own_encoder, require_told
from tcssa.reporter import Reporter
from tcssa.slides.image.small_picture import picture_beside
from tcssa.slides.settings import ENCODER_OPTION
from tcssa.vqa.endpoint.asked_model import load_asked
from tcssa.vqa.endpoint.served_model import ServedModel
from tcssa.vqa.explain.ask_settings import AskSettings
from tcssa.vqa.explain.shown_slides import check_slides
from tcssa.vqa.explain.slide_extraction import extract_slide
from tcssa.vqa.explain.slide_session import Answer, SlideOracle, check_question
from tcssa.vqa.explain.stored_tokens import take_tokens
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.model.run_file import settle_several
from tcssa.vqa.model.visual_encoders import SlotVisual
from tcssa.vqa.prompts.wording import OWN, read_wording
from tcssa.vqa.settings import TOGETHER, VQA_FILE, LanguageModelOptions


def answer_question(
    run: Path,
    question: str,
    options: Sequence[str],
    reporter: Reporter,
    settings: AskSettings | None = None,
    *,
    features: Path | Sequence[Path] | None = None,
    slide: Path | None = None,
    tokens: Path | None = None,
    out: Path | None = None,
) -> tuple[Answer, Path | None]:
    """Ask a run one question about one slide, or about several at once.

    Args:
        run: A run directory of train-vqa.
        question: The question.
        options: The options to choose from; without any the answer is written.
        reporter: Shows progress.
        settings: How to ask.
        features: The slide's patch features, or those of several slides, which come together as
            ``settings.several`` says; needed unless ``slide`` or ``tokens`` is given.
        slide: The slide's file, whose features are extracted with the run's encoder.
        tokens: The slide's file of slots, with tokens of the run's projector.
        out: Folder for ``answer.json``, the picture, and the features of ``slide``.

    Returns:
        The answer, and the picture if one was drawn.

    Raises:
        UsageError: The question or its options cannot be asked, the slide is missing, several
            slides cannot be put together, the run gives no such budget, or the features are of
            another encoder.
        FeatureFileError: The features cannot be read, or are of another length.
        RunError: The run cannot be loaded.
        EndpointError: A server is to answer, and does not.
    """
    settings = settings or AskSettings()
    check_question(question, options)
    if features is not None and not isinstance(features, Path):
        if len(features) > 1:
            several = settle_several(settings.several, run, reporter, TOGETHER)
            settings = settings.model_copy(update={"several": several})
        check_slides(features, settings.several or "error")
    job = None if out is None else out / "job"
    with opened_slide(
        run, reporter, settings, features=features, slide=slide, tokens=tokens, job=job
    ) as oracle:
        answer = oracle.ask(question, options, explain=settings.explain)
        if settings.explain and not answer.slots and answer.log_likelihood is not None:
            reporter.warn(
                f"there are {len(oracle.visual)} visual tokens, too many to blank one by one"
            )
        if out is not None and answer.several is not None:
            reporter.note("no picture is drawn of several slides")
        return answer, None if out is None else _write(oracle, answer, run, out)


@contextmanager
def opened_slide(
    run: Path,
    reporter: Reporter,
    settings: AskSettings,
    *,
    features: Path | Sequence[Path] | None = None,
    slide: Path | None = None,
    tokens: Path | None = None,
    job: Path | None = None,
) -> Iterator[SlideOracle]:
    """Load a run and one slide, or several at once, ready for questions.

    Args:
        run: A run directory of train-vqa.
        reporter: Shows progress.
        settings: How to ask.
        features: The slide's patch features, or those of several slides; needed unless ``slide`` or
            ``tokens`` is given.
        slide: The slide's file, whose features are extracted with the run's encoder.
        tokens: The slide's file of slots, with tokens of the run's projector.
        job: Folder for the features of ``slide``; one that goes at the end if None.

    Raises:
        UsageError: The slide is missing, several slides cannot be put together, the run gives no
            such budget, or the features are of another encoder.
        FeatureFileError: The features cannot be read, or are of another length.
        RunError: The run cannot be loaded.
        UnknownNameError: There is no such wording.
    """
    wording = read_wording(settings.prompt)
    loaded, served = _load(run, settings)
    with tempfile.TemporaryDirectory() as scratch:
        if slide is not None:
            features = _extract(slide, loaded, settings, job or Path(scratch), reporter)
        place = tokens or features
        if not place:
            raise UsageError("a slide is needed: its features, its file, or its tokens")
        made = None if tokens is None else take_tokens(loaded, tokens, reporter)
        lengths = {"batch_size": settings.batch_size, "max_new_tokens": settings.max_new_tokens}
        several = settings.several or "error"
        yield SlideOracle(
            loaded, place, served=served, tokens=made, several=several, wording=wording, **lengths
        )


def _load(run: Path, settings: AskSettings) -> tuple[LoadedVqa, ServedModel | None]:
    """Load the model of a run, to make as many slots of a slide as the settings ask for."""
    llm = LanguageModelOptions(**settings.model_dump(include={*LanguageModelOptions.model_fields}))
    loaded, served = load_asked(run, llm, settings, settings.device)
    if settings.budget is not None:
        if not isinstance(loaded.model.visual, SlotVisual):
            raise UsageError(f"{run} sees no slots, of which --budget could be fewer")
        loaded.model.visual.set_budget(settings.budget)
    return loaded, served


def _extract(
    slide: Path, loaded: LoadedVqa, settings: AskSettings, job: Path, reporter: Reporter
) -> Path:
    """Extract a slide's features with the run's encoder, if the user allows that one."""
    made_with = loaded.settings.encoder
    if is_own_encoder(made_with):
        require_told(
            made_with, settings.encoder, loaded.folder / VQA_FILE, ENCODER_OPTION, RunError
        )
    mpp, device = settings.slide_mpp, settings.device
    return extract_slide(slide, made_with, job, reporter, slide_mpp=mpp, device=device)


def _write(oracle: SlideOracle, answer: Answer, run: Path, out: Path) -> Path | None:
    """Write ``answer.json`` and the picture; None if there is nothing to draw."""
    picture = out / "slots.png"
    drawn = oracle.draw(answer, picture, picture_beside(oracle.path))
    content = {"run": str(run), **oracle.loaded.describe(), **asdict(answer)}
    if oracle.asker.wording != OWN:
        content["wording"] = oracle.asker.wording.model_dump()
    atomic.write_text(out / "answer.json", json.dumps(content, indent=2) + "\n")
    return picture if drawn else None
