"""``report.html`` of an evaluation on a benchmark: scores, controls, baselines, faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcssa.reports.html_page import write_page
from tcssa.vqa.evaluation.published import read_published
from tcssa.vqa.evaluation.published_table import published_table
from tcssa.vqa.evaluation.report import Report

PAGE_FILE = "report.html"


def write_report_page(report: Report, plot: Path | None) -> Path:
    """Write the page, atomically, and return its path.

    Args:
        report: An evaluation; its folder gets the page.
        plot: Picture of accuracies side by side, if one was drawn.
    """
    path = report.folder / PAGE_FILE
    write_page(
        path,
        Path(__file__).with_suffix(".html"),
        metrics=report.metrics,
        plot=plot,
        beside=_beside(report.metrics),
        origins=list(_origins(report.metrics)),
    )
    return path


def _beside(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the table beside published figures, and what to know of them."""
    if metrics["scores"] is None:
        return None
    published = read_published()
    table = published_table(metrics, published)
    rows = [
        [
            line.name,
            "–" if line.tokens is None else f"{line.tokens:g}",
            *("–" if percent is None else f"{percent:.2f}" for percent in line.percents),
            line.origin,
        ]
        for line in table.lines
    ]
    return {
        "header": ["", "tokens a slide", *(f"{each}, %" for each in table.columns), "from"],
        "rows": rows,
        "caveat": published.caveat,
    }


def _origins(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    benchmark, asked = metrics["benchmark"], metrics["asked"]
    yield "benchmark", f"{benchmark['kind']}, {benchmark['version']}"
    yield "file", str(benchmark["file"])
    yield "SHA-256", str(benchmark["sha256"])
    yield "rows", f"{benchmark['num_rows']}, of which {benchmark['num_left_out']} are left out"
    yield "questions asked", str(asked["num_questions"])
    if wording := asked.get("wording"):
        yield "wording", f"{asked['prompt']}: {wording['question']!r}, {wording['option']!r}"
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
