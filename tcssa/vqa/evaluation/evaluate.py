"""Evaluation of a model on a benchmark: every row is asked, and every row counts.

The answers about a slide are appended to ``answers.jsonl`` as soon as the slide is done, and the
same command resumes from there. Rows whose slide has no features, or that are too long for the
model, are lines there too, and stay in the denominator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tcssa.errors import AmbiguousFeaturesError, MissingFeaturesError
from tcssa.files import atomic
from tcssa.reporter import Reporter
from tcssa.vqa.answering.answer_log import ANSWERS_FILE, AnswerLog
from tcssa.vqa.answering.answer_record import AnswerRecord, unanswered
from tcssa.vqa.answering.controls import circle, others
from tcssa.vqa.answering.question_runner import Asker
from tcssa.vqa.answering.reply import Method
from tcssa.vqa.answering.slide_tokens import SlideTokens, UnusableSlideError
from tcssa.vqa.conversation import Question
from tcssa.vqa.data.benchmark import Benchmark, read_benchmark
from tcssa.vqa.data.slide_index import SlideIndex
from tcssa.vqa.endpoint.asked_model import load_asked, ways_of
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.endpoint.served_model import ServedModel
from tcssa.vqa.evaluation.report import (
    Report,
    describe_benchmark,
    summarise,
    warn_of_faults,
    warn_of_unanswered,
    write_report,
)
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.settings import BenchmarkKind, EvalOptions, LanguageModelOptions


def evaluate(
    run: Path,
    kind: BenchmarkKind,
    file: Path,
    features: Sequence[Path],
    reporter: Reporter,
    options: EvalOptions | None = None,
    *,
    llm: str | None = None,
    allow_hub: bool = False,
    trust_remote_code: bool = False,
    device: str = "auto",
    endpoint: EndpointOptions | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> Report:
    """Ask a run of train-vqa a benchmark's questions, and score what it says.

    Args:
        run: The run directory.
        kind: The benchmark.
        file: Its questions.
        features: Folders of the slides' patch features.
        reporter: Shows progress, and warns of what is left out.
        options: How to ask.
        llm: Folder, GGUF file or name of the language model; None takes the one the run names.
        allow_hub: Let it be downloaded.
        trust_remote_code: Run code that comes with it, where the run needs that.
        device: Where to compute.
        endpoint: A server that holds the language model; the run is then the merged folder.
        out: Where to write; below the run if not given.
        overwrite: Ask everything again.

    Returns:
        The report, as written to its folder.

    Raises:
        TableError: The benchmark cannot be read.
        RunError: The run is not finished, or ``out`` holds answers made from something else.
        FeatureDimError: Features are of another length than the model's.
        UsageError: Features are of another encoder than the model's.
        EndpointError: A server is to answer, and does not.
    """
    options = options or EvalOptions()
    benchmark = read_benchmark(kind, file)
    warn_of_faults(benchmark, reporter)
    source = LanguageModelOptions(llm=llm, allow_hub=allow_hub, trust_remote_code=trust_remote_code)
    loaded, served = load_asked(run, source, endpoint or EndpointOptions(), device)
    index = SlideIndex.from_folders(features, options.several)
    plan = _plan(benchmark.questions[: options.limit], index)
    folder = out or run / _folder_name(kind, options)
    records = _answers(loaded, served, benchmark, plan, folder, options, overwrite, reporter)
    if index.chosen:
        reporter.warn(
            f"{len(index.chosen)} patients have several slides; of each one was taken "
            f"(--several {options.several})"
        )
    metrics = _metrics(loaded, served, benchmark, plan, records, options, len(index.chosen))
    warn_of_unanswered(metrics["statuses"], reporter)
    return write_report(folder, metrics)


@dataclass(frozen=True)
class _Plan:
    """Assignment of questions to feature files."""

    questions: list[Question]
    by_slide: dict[str, list[Question]]
    """Questions by the stem of their slide's feature file."""
    paths: dict[str, Path]
    lost: list[AnswerRecord]
    """The answers to questions whose slide has no file or several."""


def _plan(questions: Sequence[Question], index: SlideIndex) -> _Plan:
    plan = _Plan(list(questions), {}, {}, [])
    for question in questions:
        try:
            path = index.find(question.slide)
        except MissingFeaturesError as error:
            plan.lost.append(unanswered(question, "no_features", str(error)))
        except AmbiguousFeaturesError as error:
            plan.lost.append(unanswered(question, "ambiguous_features", str(error)))
        else:
            plan.paths[path.stem] = path
            plan.by_slide.setdefault(path.stem, []).append(question)
    return plan


def _answers(
    loaded: LoadedVqa,
    served: ServedModel | None,
    benchmark: Benchmark,
    plan: _Plan,
    folder: Path,
    options: EvalOptions,
    overwrite: bool,
    reporter: Reporter,
) -> list[AnswerRecord]:
    """Ask the questions of a plan, or those of them that the folder's log does not hold yet."""
    tokens = SlideTokens(loaded, plan.paths)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.discard_leftovers(folder)
    made_from = _made_from(loaded, benchmark, tokens, options) | _server(served)
    with AnswerLog(folder / ANSWERS_FILE, made_from, overwrite=overwrite) as log:
        _ask_all(plan, tokens, _asker(loaded, served, options), log, reporter)
        if tokens.cache is not None and tokens.cached:
            reporter.note(
                f"the tokens of {len(tokens.cached)} of {len(tokens.cached | tokens.made)} slides "
                f"are those that training kept in {tokens.cache.folder}"
            )
        return log.records(plan.questions)


def _asker(loaded: LoadedVqa, served: ServedModel | None, options: EvalOptions) -> Asker:
    ways = ways_of(loaded, served, options.batch_size, options.max_new_tokens)
    methods: dict[str, Method] = {
        "likelihood": ways.letters, "text": ways.texts, "generate": ways.writer,
    }  # fmt: skip
    method = methods[options.method]
    return Asker(loaded.prompts, method, ways.writer, ways.context, permute=options.permute)


def _ask_all(
    plan: _Plan, tokens: SlideTokens, asker: Asker, log: AnswerLog, reporter: Reporter
) -> None:
    """Ask what the log does not hold yet, slide by slide along the circle."""
    log.append([record for record in plan.lost if record.row_id not in log.done])
    order = circle(plan.by_slide)
    other_of = others(order)
    with reporter.task("asking", len(plan.questions), "questions") as task:
        task.advance(len(plan.lost))
        for slide in order:
            questions = plan.by_slide[slide]
            if any(question.row_id not in log.done for question in questions):
                task.describe(slide)
                records = _ask_slide(slide, questions, other_of.get(slide), tokens, asker)
                log.append([record for record in records if record.row_id not in log.done])
            task.advance(len(questions))


def _ask_slide(
    slide: str, questions: list[Question], other: str | None, tokens: SlideTokens, asker: Asker
) -> list[AnswerRecord]:
    """Ask all questions of a slide, so that a resumed slide is batched as it was before."""
    try:
        visual = tokens.of(slide)
    except UnusableSlideError as error:
        return [unanswered(question, error.status, str(error)) for question in questions]
    return asker.ask(questions, visual, _other_tokens(other, tokens))


def _other_tokens(other: str | None, tokens: SlideTokens) -> tuple[str, Tensor] | None:
    try:
        return None if other is None else (other, tokens.of(other))
    except UnusableSlideError:
        return None


def _metrics(
    loaded: LoadedVqa,
    served: ServedModel | None,
    benchmark: Benchmark,
    plan: _Plan,
    records: Sequence[AnswerRecord],
    options: EvalOptions,
    num_chosen: int,
) -> dict[str, Any]:
    """Return the content of ``metrics.json``."""
    return {
        "system": {
            "name": loaded.folder.resolve().name,
            **loaded.describe(),
            **_server(served),
        },
        "benchmark": describe_benchmark(benchmark),
        "asked": {**options.model_dump(), "num_questions": len(plan.questions)},
        "patients_with_several_slides": num_chosen,
        **summarise(plan.questions, records),
    }


def _made_from(
    loaded: LoadedVqa, benchmark: Benchmark, tokens: SlideTokens, options: EvalOptions
) -> dict[str, Any]:
    """Return all that the answers depend on; a log made from anything else is refused."""
    asked = options.model_dump()
    del asked["batch_size"]
    return {
        "model": loaded.fingerprint(),
        "benchmark": benchmark.sha256,
        "features": tokens.fingerprint(),
        **asked,
    }


def _server(served: ServedModel | None) -> dict[str, str]:
    """Return what is told of a server that answers: the name of its model."""
    return {} if served is None else {"endpoint": served.name}


def _folder_name(kind: BenchmarkKind, options: EvalOptions) -> str:
    parts = ["eval", kind, *([] if options.method == "likelihood" else [options.method])]
    return "-".join([*parts, *([f"first-{options.limit}"] if options.limit else [])])
