"""``report.html`` of an evaluation on a benchmark: scores, controls, baselines, faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcssa.reports.html_page import Figure, Section, write_page
from tcssa.vqa.evaluation.report import Report

PAGE_FILE = "report.html"
_GROUPS = {"broad": "Broad category", "narrow": "Narrow category"}
_CONTROLS = {"blank": "control: blank slots", "other_slide": "control: slots of another slide"}
_SCORES = ["rows", "slides", "accuracy, all rows", "95 % interval", "of answered", "invalid"]


def write_report_page(report: Report, plot: Path | None) -> Path:
    """Write the page, atomically, and return its path.

    Args:
        report: An evaluation; its folder gets the page.
        plot: Picture of accuracies side by side, if one was drawn.
    """
    metrics = report.metrics
    title = f"{metrics['system']['name']} on {metrics['benchmark']['kind']}"
    path = report.folder / PAGE_FILE
    write_page(path, title, list(_sections(metrics, plot)))
    return path


def _sections(metrics: Mapping[str, Any], plot: Path | None) -> Iterator[Section]:
    if metrics["scores"]:
        yield _closed(metrics)
        for category, tallies in metrics["scores"]["groups"].items():
            yield _group(category, tallies, metrics["scores"]["macro"].get(category))
    if metrics["permutation"]:
        yield _permutation(metrics["permutation"])
    if metrics["open"]:
        yield _open(metrics["open"])
    if plot is not None:
        caption = "Accuracy against visual tokens a slide; lines are baselines"
        yield Section("Beside other systems", "", figures=[Figure(plot, caption)])
    yield Section(
        "What to do next",
        "Another run beside this one, on the same rows; FOLDER is this folder.",
        code=f"tcssa eval RUN --benchmark {metrics['benchmark']['kind']} FILE --features DIR "
        "--compare FOLDER",
    )
    yield Section("What it was made from", "", facts=list(_origins(metrics)))


def _closed(metrics: Mapping[str, Any]) -> Section:
    rows = [[metrics["system"]["name"], *_tally(metrics["scores"]["overall"])]]
    for name, title in _CONTROLS.items():
        if metrics["controls"][name] is not None:
            rows.append([title, *_tally(metrics["controls"][name]["overall"])])
    for baseline in metrics["baselines"]:
        name = f"baseline: {baseline['name'].replace('_', ' ')} ({baseline['rule']})"
        rows.append([name, *_tally(baseline["scores"]["overall"])])
    return Section(
        "Questions with options",
        "A row without a usable answer counts as wrong in the accuracy over all rows. Intervals "
        "are of a bootstrap by slide.",
        rows=[["", *_SCORES], *rows],
        notes=(
            "A control asks the same questions without the slide, or with another one: what it "
            "reaches needs no slide. A baseline reads the questions or the answers alone.",
            "Invalid: replies that name none of the options, among all replies.",
        ),
    )


def _group(category: str, tallies: Mapping[str, Any], macro: Mapping[str, Any] | None) -> Section:
    rows = [[value, *_tally(tally)] for value, tally in tallies.items()]
    if macro:
        rows.append(["mean of these", "–", "–", _value(macro["value"]), _interval(macro), "–", "–"])
    title = _GROUPS.get(category, category.capitalize())
    return Section(title, "", rows=[[category, *_SCORES], *rows])


def _permutation(found: Mapping[str, Any]) -> Section:
    rows = [
        [letter, *(_value(figures[name]) for name in ("share", "expected", "accuracy"))]
        for letter, figures in found["letters"].items()
    ]
    return Section(
        "Options in every order",
        f"Over all orders the accuracy is {_value(found['accuracy'])}; the same option is chosen "
        f"in every order of {_value(found['consistency'])} of the questions.",
        rows=[["letter", "answered", "without bias", "accuracy when right"], *rows],
    )


def _open(found: Mapping[str, Any]) -> Section:
    names = ["exact", "bleu1", "bleu4", "rouge1", "rouge2", "rouge_l"]
    return Section(
        "Open questions",
        f"{found['num_texts']} texts against their references. These scores count shared words; "
        "they do not say whether a text is right.",
        rows=[
            [name.replace("_", "-").upper() for name in names],
            [_value(found[name]) for name in names],
        ],
    )


def _origins(metrics: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    benchmark, asked = metrics["benchmark"], metrics["asked"]
    yield "benchmark", f"{benchmark['kind']}, {benchmark['version']}"
    yield "file", str(benchmark["file"])
    yield "SHA-256", str(benchmark["sha256"])
    yield "rows", f"{benchmark['num_rows']}, of which {benchmark['num_left_out']} are left out"
    yield "questions asked", str(asked["num_questions"])
    if asked.get("limit"):
        yield "limit", f"the first {asked['limit']} only: no figure of the benchmark"
    yield "answers", _counts(metrics["statuses"])
    if benchmark["faults"]:
        yield "faults of the file", _counts(benchmark["faults"])
    for name, value in metrics["system"].items():
        if name != "name" and value is not None:
            yield name.replace("_", " "), str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items())


def _tally(tally: Mapping[str, Any]) -> list[str]:
    return [
        str(tally["num_rows"]),
        str(tally["num_slides"]),
        _value(tally["accuracy"]["value"]),
        _interval(tally["accuracy"]),
        _value(tally["accuracy_answered"]["value"]),
        _value(tally["invalid_rate"]),
    ]


def _interval(score: Mapping[str, Any]) -> str:
    if score["low"] is None or score["high"] is None:
        return "–"
    return f"{score['low']:.3f} – {score['high']:.3f}"


def _value(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
