"""Evaluation of a model on a benchmark: every row is asked, and every row counts.

The answers about a slide are appended to ``answers.jsonl`` as soon as the slide is done, and the
same command resumes from there. Rows whose slide has no features, or that are too long for the
model, are lines there too, and stay in the denominator. Where several workers share the slides, the
lines are brought into the order of one in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcssa.crew.dispatcher import Crew, Dispatcher
from tcssa.crew.shares import Share
from tcssa.errors import (
    AmbiguousFeaturesError,
    MissingFeaturesError,
    ProcessesError,
    RepeatedSlideError,
    UsageError,
    counted,
)
from tcssa.files import atomic
from tcssa.reporter import Reporter
from tcssa.vqa.answering.answer_log import ANSWERS_FILE, AnswerLog
from tcssa.vqa.answering.answer_record import AnswerRecord, unanswered
from tcssa.vqa.answering.controls import circle, others
from tcssa.vqa.answering.slide_tokens import features_fingerprint
from tcssa.vqa.conversation import Question
from tcssa.vqa.data.benchmark import Benchmark, read_benchmark
from tcssa.vqa.data.row_slides import RowSlides, find_slides
from tcssa.vqa.data.slide_index import SlideIndex, warn_of_chosen
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.evaluation.ask_job import AskJob, LostSlide, RunPlace
from tcssa.vqa.evaluation.report import (
    Report,
    describe_benchmark,
    summarise,
    warn_of_faults,
    warn_of_unanswered,
    write_report,
)
from tcssa.vqa.evaluation.slide_asking import SlideAnswers, SlideAsker, SlideQuestions
from tcssa.vqa.model.merging import require_merging
from tcssa.vqa.model.run_file import settle_several
from tcssa.vqa.model.slot_cache import cache_of_run
from tcssa.vqa.prompts.wording import Wording, read_wording
from tcssa.vqa.settings import (
    OWN_PROMPT,
    BenchmarkKind,
    EvalOptions,
    LanguageModelOptions,
)

_OnAnswers = Callable[[SlideAnswers | LostSlide], None]
_Ask = Callable[[Sequence[SlideQuestions], _OnAnswers, Reporter], list[Share]]


def evaluate(
    run: Path,
    kind: BenchmarkKind,
    file: Path,
    features: Sequence[Path],
    reporter: Reporter,
    options: EvalOptions | None = None,
    *,
    source: LanguageModelOptions | None = None,
    device: str = "auto",
    endpoint: EndpointOptions | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    crew: Crew | None = None,
) -> Report:
    """Ask a run of train-vqa a benchmark's questions, and score what it says.

    Args:
        run: The run directory.
        kind: The benchmark.
        file: Its questions.
        features: Folders of the slides' patch features.
        reporter: Shows progress, and warns of what is left out.
        options: How to ask.
        source: Where the language model is; None takes the one that the run names.
        device: Where to compute.
        endpoint: A server that holds the language model; the run is then the merged folder.
        out: Where to write; below the run if not given.
        overwrite: Ask everything again.
        crew: Workers that share the slides; None asks in this process alone.

    Returns:
        The report, as written to its folder.

    Raises:
        TableError: The benchmark cannot be read.
        RunError: The run is not finished, or ``out`` holds answers made from something else.
        FeatureDimError: Features are of another length than the model's.
        UsageError: Features are of another encoder than the model's, no such wording is known, a
            slide is named as others together, or no question has the options to permute.
        EndpointError: A server is to answer, and does not.
        ProcessesError: Workers died on a slide again and again; the other answers are kept.
    """
    options = options or EvalOptions()
    several = settle_several(options.several, run, reporter)
    options = options.model_copy(update={"several": several})
    benchmark = read_benchmark(kind, file, several)
    questions = benchmark.questions[: options.limit]
    _require_orders(options, questions, file)
    warn_of_faults(benchmark, reporter)
    index = SlideIndex.from_folders(features, several)
    place = RunPlace(run, source or LanguageModelOptions(), endpoint or EndpointOptions())
    model = _opened(place, options, device, crew)
    plan = _plan(questions, index)
    folder = out or run / _folder_name(kind, options)
    with _log_in(folder, _made_from(model, benchmark, plan, options), overwrite) as log:
        shares = _ask_all(plan, model, log, reporter)
        records = log.records(plan.questions)
    warn_of_chosen(len(index.chosen), several, reporter)
    metrics = _metrics(model, benchmark, plan, records, options, len(index.chosen))
    warn_of_unanswered(metrics["statuses"], reporter)
    return write_report(folder, metrics, shares)


def _require_orders(options: EvalOptions, questions: Sequence[Question], file: Path) -> None:
    """Require options to ask in several orders, where that is asked for."""
    if options.permute and not any(question.options for question in questions):
        raise UsageError(
            f"--permute has no meaning here: no question that is asked of {file} has options",
            hint="leave --permute out",
        )


@dataclass(frozen=True)
class _Plan:
    """Assignment of questions to feature files."""

    questions: list[Question]
    by_slide: dict[str, list[tuple[Question, RowSlides]]]
    """Questions by the name of their slide, or of several together."""
    lost: list[AnswerRecord]
    """The answers to questions whose slide has no file or several."""

    @property
    def paths(self) -> dict[str, Path]:
        """The feature files of all slides, by their stems."""
        asked = [slides for each in self.by_slide.values() for _, slides in each]
        return {path.stem: path for slides in asked for path in slides.paths}

    def slides(self) -> list[SlideQuestions]:
        """Return the slides with their questions, along the circle."""
        order = circle(self.by_slide)
        slides = {name: asked[0][1] for name, asked in self.by_slide.items()}
        other_of = others(order, {name: each.paths for name, each in slides.items()})
        return [
            SlideQuestions(
                slides[name],
                tuple(question for question, _ in self.by_slide[name]),
                tuple(each.images for _, each in self.by_slide[name]),
                slides.get(other_of.get(name, "")),
            )
            for name in order
        ]


def _plan(questions: Sequence[Question], index: SlideIndex) -> _Plan:
    plan = _Plan(list(questions), {}, [])
    for question in questions:
        try:
            slides = find_slides(question.slides, index)
        except MissingFeaturesError as error:
            plan.lost.append(unanswered(question, "no_features", str(error)))
        except (AmbiguousFeaturesError, RepeatedSlideError) as error:
            plan.lost.append(unanswered(question, "ambiguous_features", str(error)))
        else:
            asked = plan.by_slide.setdefault(slides.name, [])
            if asked and asked[0][1].parts != slides.parts:
                raise UsageError(
                    f"two sets of slides are both named {slides.name!r}: "
                    f"{_files(asked[0][1])}; and {_files(slides)}",
                    hint="rename the feature file whose name holds another's",
                )
            asked.append((question, slides))
    return plan


def _files(slides: RowSlides) -> str:
    return ", ".join(str(path) for path in slides.paths)


@dataclass(frozen=True)
class _Model:
    """What asks, and what is told of it."""

    ask: _Ask
    wording: Wording
    system: dict[str, Any]
    made_from: dict[str, str]
    cache_folder: Path | None
    """Slot cache of the training, if it kept one."""


def _opened(place: RunPlace, options: EvalOptions, device: str, crew: Crew | None) -> _Model:
    """Open the model; with a crew only to know it, since each worker has its own."""
    wording = read_wording(options.prompt)
    loaded, served = place.open(device if crew is None else "cpu")
    if options.several == "merge":
        require_merging(loaded.model.visual)
    if crew is None:
        ask = _alone(SlideAsker(loaded, served, options, wording))
    else:
        ask = _shared(AskJob(place, crew.device, options, wording), crew)
    server = {} if served is None else {"endpoint": served.name}
    system = {"name": loaded.folder.resolve().name, **loaded.describe(), **server}
    cache = cache_of_run(loaded.folder, loaded.model.visual)
    folder = None if cache is None else cache.folder
    return _Model(ask, wording, system, {"model": loaded.fingerprint(), **server}, folder)


def _ask_all(plan: _Plan, model: _Model, log: AnswerLog, reporter: Reporter) -> list[Share]:
    """Ask what the log does not hold yet, and bring its lines into the order of the circle.

    Raises:
        EndpointError: A server is to answer, and does not.
        ProcessesError: Workers died on a slide again and again.
    """
    log.append([record for record in plan.lost if record.row_id not in log.done])
    slides, lost, cached, made = plan.slides(), [], set[str](), set[str]()

    def record(answers: SlideAnswers | LostSlide) -> None:
        if isinstance(answers, LostSlide):
            lost.append(answers)
            return
        log.append([each for each in answers.records if each.row_id not in log.done])
        cached.update(answers.cached)
        made.update(answers.made)

    left = [slide for slide in slides if any(q.row_id not in log.done for q in slide.questions)]
    shares = model.ask(left, record, reporter) if left else []
    if lost:
        raise ProcessesError(
            f"no answers about {counted(len(lost), 'slide')}: {lost[0].slide_id}: {lost[0].reason}",
            hint="the other answers are kept; give the command without --gpus and --workers to see "
            "why, it may be memory",
        )
    asked = [question.row_id for slide in slides for question in slide.questions]
    log.put_in_order([*(each.row_id for each in plan.lost), *asked])
    if cached:
        num_seen = len(cached | made)
        reporter.note(
            f"the tokens of {len(cached)} of {num_seen} slides are those that training kept in "
            f"{model.cache_folder}"
        )
    return shares


def _log_in(folder: Path, made_from: Mapping[str, Any], overwrite: bool) -> AnswerLog:
    folder.mkdir(parents=True, exist_ok=True)
    atomic.discard_leftovers(folder)
    return AnswerLog(folder / ANSWERS_FILE, made_from, overwrite=overwrite)


def _alone(asker: SlideAsker) -> _Ask:
    """Return what asks about slides in this process."""

    def ask(
        slides: Sequence[SlideQuestions], on_answers: _OnAnswers, reporter: Reporter
    ) -> list[Share]:
        with reporter.task("asking", sum(len(s.questions) for s in slides), "questions") as task:
            for slide in slides:
                task.describe(slide.slide_id)
                on_answers(asker.ask(slide))
                task.advance(len(slide.questions))
        return []

    return ask


def _shared(job: AskJob, crew: Crew) -> _Ask:
    """Return what shares slides among workers."""

    def ask(
        slides: Sequence[SlideQuestions], on_answers: _OnAnswers, reporter: Reporter
    ) -> list[Share]:
        with reporter.task("asking", len(slides), "slides") as task:
            return Dispatcher(job, slides, crew, on_answers, reporter, task).run()

    return ask


def _made_from(
    model: _Model, benchmark: Benchmark, plan: _Plan, options: EvalOptions
) -> dict[str, Any]:
    """Return all that the answers depend on; a log made from anything else is refused.

    The project's own wording is left out, so that answers of before there were others go on.
    """
    asked = options.model_dump(exclude={"batch_size", "prompt"})
    if options.prompt != OWN_PROMPT:
        asked["prompt"] = model.wording.model_dump(exclude={"source"})
    return {
        **model.made_from,
        "benchmark": benchmark.sha256,
        "features": features_fingerprint(plan.paths),
        **asked,
    }


def _metrics(
    model: _Model,
    benchmark: Benchmark,
    plan: _Plan,
    records: Sequence[AnswerRecord],
    options: EvalOptions,
    num_chosen: int,
) -> dict[str, Any]:
    """Return the content of ``metrics.json``."""
    asked = {**options.model_dump(), "num_questions": len(plan.questions)}
    return {
        "system": model.system,
        "benchmark": describe_benchmark(benchmark),
        "asked": {**asked, "wording": model.wording.model_dump()},
        "patients_with_several_slides": num_chosen,
        **summarise(plan.questions, records),
    }


def _folder_name(kind: BenchmarkKind, options: EvalOptions) -> str:
    parts = ["eval", kind, *([] if options.method == "likelihood" else [options.method])]
    if options.prompt != OWN_PROMPT:
        parts.append(f"prompt-{Path(options.prompt).stem}")
    return "-".join([*parts, *([f"first-{options.limit}"] if options.limit else [])])
