"""An evaluation beside what others published, by category, with the floors that need no slide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tcssa.vqa.evaluation.published import Published, PublishedSystem

_CATEGORIES = ("Microscopy", "Diagnosis", "Clinical")
_OVERALL = {
    "slidebench-tcga": "Overall",
    "slidebench-bcnb": "BCNB",
    "wsi-vqa": "WSI-VQA*",
}
"""The column of the whole benchmark; WSI-VQA* are the questions of WSI-VQA with options."""


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    tokens: float | None
    """Visual tokens a slide, where they are known."""
    percents: tuple[float | None, ...]
    """Accuracy over all rows in each column, in per cent."""
    origin: str
    """``measured``, ``needs no slide``, or the source of a published figure."""


@dataclass(frozen=True)
class PublishedTable:
    """Lines measured on this file, then published ones."""

    columns: tuple[str, ...]
    lines: list[Line]


def published_table(metrics: Mapping[str, Any], published: Published) -> PublishedTable:
    """Lay an evaluation beside published figures.

    Args:
        metrics: Figures of an evaluation that has scores.
        published: What others published.

    Returns:
        The table; of the published systems those that state a figure of this benchmark.
    """
    kind = metrics["benchmark"]["kind"]
    categories = _CATEGORIES if kind == "slidebench-tcga" else ()
    lines = [
        Line(name, tokens, _percents(scores, categories), origin)
        for name, tokens, scores, origin in _measured(metrics)
    ]
    for system in published.systems:
        overall = system.on(kind)
        if overall is not None:
            percents = (*(_of_category(system, each) for each in categories), overall)
            source = published.sources[system.source]
            lines.append(Line(system.system, system.visual_tokens, percents, source))
    return PublishedTable((*categories, _OVERALL[kind]), lines)


def _measured(
    metrics: Mapping[str, Any],
) -> Iterator[tuple[str, float | None, Mapping[str, Any], str]]:
    name, tokens = metrics["system"]["name"], metrics["num_visual_tokens"]
    yield name, tokens, metrics["scores"], "measured"
    if metrics["lenient"]:
        yield f"{name}, read leniently", tokens, metrics["lenient"], "measured"
    if metrics["controls"]["blank"]:
        yield "text only (blank slots)", None, metrics["controls"]["blank"], "needs no slide"
    for baseline in metrics["baselines"]:
        yield baseline["name"].replace("_", " "), None, baseline["scores"], "needs no slide"
    yield "random choice (expected)", None, metrics["chance"], "needs no slide"


def _percents(scores: Mapping[str, Any], categories: Sequence[str]) -> tuple[float | None, ...]:
    broad = scores["groups"].get("broad", {})
    tallies = [*(broad.get(each) for each in categories), scores["overall"]]
    return tuple(None if each is None else 100 * each["accuracy"]["value"] for each in tallies)


def _of_category(system: PublishedSystem, category: str) -> float | None:
    percent: float | None = getattr(system, category.lower())
    return percent
