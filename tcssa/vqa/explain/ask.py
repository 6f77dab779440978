"""One question about one slide: `tcssa ask` as one call."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tcssa.errors import RunError, UsageError
from tcssa.files import atomic
from tcssa.plugins import is_own_encoder, require_told
from tcssa.reporter import Reporter
from tcssa.slides.image.small_picture import picture_beside
from tcssa.slides.settings import ENCODER_OPTION
from tcssa.vqa.explain.slide_extraction import extract_slide
from tcssa.vqa.explain.slide_session import Answer, SlideOracle, check_question
from tcssa.vqa.model.run import load_vqa
from tcssa.vqa.model.run_file import VQA_FILE
from tcssa.vqa.model.visual_encoders import SlotVisual


def answer_question(
    run: Path,
    question: str,
    options: Sequence[str],
    reporter: Reporter,
    *,
    features: Path | None = None,
    slide: Path | None = None,
    slide_mpp: float | None = None,
    budget: int | None = None,
    explain: bool = True,
    max_new_tokens: int = 128,
    batch_size: int = 16,
    llm: str | None = None,
    allow_hub: bool = False,
    trust_remote_code: bool = False,
    encoder: str | None = None,
    device: str = "auto",
    out: Path | None = None,
) -> tuple[Answer, Path | None]:
    """Ask a run one question about one slide.

    Args:
        run: A run directory of train-vqa.
        question: The question.
        options: The options to choose from; without any the answer is written.
        reporter: Shows progress.
        features: The slide's patch features; needed unless ``slide`` is given.
        slide: The slide's file, whose features are extracted with the run's encoder.
        slide_mpp: The slide's level-0 resolution, if it does not state one.
        budget: Slots that the slide becomes, where the run's compressor is nested; None: as many as
            the run was trained with.
        explain: Find out which slots the answer rests on.
        max_new_tokens: Most tokens of a written answer; a longer one is cut.
        batch_size: Prompts read at a time.
        llm: Folder, GGUF file or name of the language model; None takes the one the run names.
        allow_hub: Let it be downloaded.
        trust_remote_code: Run code that comes with it, where the run needs that.
        encoder: The run's encoder, where it is code or a repository of the user's choice
            (``python:…``, ``hf:…``), as the user names it.
        device: Where to compute.
        out: Folder for ``answer.json``, the picture, and the features of ``slide``.

    Returns:
        The answer, and the picture if one was drawn.

    Raises:
        UsageError: The question or its options cannot be asked, the slide is missing, the run gives
            no such ``budget``, or the features are of another encoder.
        FeatureFileError: The features cannot be read, or are of another length.
        RunError: The run cannot be loaded.
    """
    check_question(question, options)
    loaded = load_vqa(
        run, llm=llm, allow_hub=allow_hub, trust_remote_code=trust_remote_code, device=device
    )
    if budget is not None:
        if not isinstance(loaded.model.visual, SlotVisual):
            raise UsageError(f"{run} sees no slots, of which --budget could be fewer")
        loaded.model.visual.set_budget(budget)
    with tempfile.TemporaryDirectory() as scratch:
        if slide is not None:
            job = Path(scratch) if out is None else out / "job"
            made_with = loaded.settings.encoder
            if is_own_encoder(made_with):
                require_told(made_with, encoder, run / VQA_FILE, ENCODER_OPTION, RunError)
            features = extract_slide(
                slide, made_with, job, reporter, slide_mpp=slide_mpp, device=device
            )
        if features is None:
            raise UsageError("a slide is needed: its features, or its file")
        oracle = SlideOracle(loaded, features, batch_size=batch_size, max_new_tokens=max_new_tokens)
        answer = oracle.ask(question, options, explain=explain)
        if explain and not answer.slots and answer.log_likelihood is not None:
            reporter.warn(
                f"the slide has {len(oracle.visual)} visual tokens, too many to blank one by one"
            )
        if out is None:
            return answer, None
        picture = out / "slots.png"
        drawn = oracle.draw(answer, picture, picture_beside(features))
        content = {"run": str(run), **loaded.describe(), **asdict(answer)}
        atomic.write_text(out / "answer.json", json.dumps(content, indent=2) + "\n")
    return answer, picture if drawn else None
