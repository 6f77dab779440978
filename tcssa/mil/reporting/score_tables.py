"""Metrics and facts of a cohort as rows of the tables on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tcssa.mil.reporting.metric_names import titles
from tcssa.reports.html_page import Section
from tcssa.statistics.intervals import Score


def number(value: float | None, digits: int = 3) -> str:
    """Format a figure, as in ``0.912``; one that does not exist is ``not defined``.

    Args:
        value: The figure; None if it is not defined.
        digits: Decimal places.
    """
    return "not defined" if value is None else f"{value:.{digits}f}"


def interval(score: Score) -> str:
    """Format an interval, as in ``0.871 – 0.944``; the text is empty if there is none."""
    return "" if score["low"] is None else f"{score['low']:.3f} – {score['high']:.3f}"


def cohort_rows(cohort: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the name and the value of each fact in a cohort's fingerprint."""
    for name, value in cohort.items():
        text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield [name.replace("_", " "), text]


def survival_rows(scores: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield names and figures that only survival has, beside its metrics."""
    if "num_events" in scores:
        yield ["patients with an event", str(scores["num_events"])]
        yield ["log-rank p, median risk", number(scores["log_rank_p"], digits=4)]


def target_sections(scores: Mapping[str, Any], headline: str) -> Iterator[Section]:
    """Yield a section for each of several targets, with its metrics.

    Args:
        scores: Pooled scores, with those of each target under ``targets``; None for a target that
            is not known for any slide.
        headline: The metric that is shown first.
    """
    for name, of_target in scores.get("targets", {}).items():
        if of_target is None:
            yield Section(f"Target {name}", "It is not known for any of the slides.")
            continue
        rows = [["", "pooled", "95 % interval"]]
        for metric, label in titles(of_target, headline).items():
            rows.append([label, number(of_target[metric]["value"]), interval(of_target[metric])])
        known = f"Known for {of_target['num_slides']} slides of {of_target['num_cases']} patients."
        yield Section(f"Target {name}", known, rows=rows)
