"""Figures published for a run's method on its dataset, beside those that the run measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tcssa.config.presets import DEFAULT_METHOD, StatedFigure, Statement, read_preset
from tcssa.mil.reporting.metric_names import written
from tcssa.mil.settings import MilSettings


@dataclass(frozen=True)
class Expectation:
    """One published figure of the run's method, and the run's own figure."""

    figure: StatedFigure
    statement: Statement
    measured: Mapping[str, Any] | None
    """The pooled score (value, low, high); None if the run has no such metric."""

    @property
    def name(self) -> str:
        """Name of the metric, with K if the source states it."""
        slots = "" if self.figure.num_slots is None else f", K = {self.figure.num_slots}"
        return f"{written(self.statement.metric)}{slots}"

    @property
    def here(self) -> str:
        """The run's figure with its interval, as fractions."""
        score = self.measured or {}
        if score.get("value") is None:
            return "not defined"
        if score.get("low") is None:
            return f"{score['value']:.3f}"
        return f"{score['value']:.3f} ({score['low']:.3f} – {score['high']:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Return both figures as plain data for JSON."""
        return {
            "metric": self.statement.metric,
            "here": self.measured,
            "stated_percent": self.figure.percent,
            "stated_sd": self.figure.sd,
            "num_slots": self.figure.num_slots,
            "source": self.statement.source,
            "caveat": self.statement.caveat,
        }


def expectations(settings: MilSettings, pooled: Mapping[str, Any]) -> list[Expectation]:
    """Return the figures that the run's preset states for its method.

    There are none if the run has no preset, if it learnt other labels than plain classes (the
    figures are for those), or if it trained TC-SSA by another recipe than the published one.

    For TC-SSA these are the figures stated for the run's K, or all of them if there are none for
    that K.

    Args:
        settings: The settings of the run; ``dataset`` names the preset.
        pooled: The run's pooled scores; see `tcssa.mil.tasks.MilTask.score`.
    """
    of_classes = settings.cohort.kind == "classes" and not settings.cohort.targets
    if settings.dataset is None or not of_classes:
        return []
    is_tcssa = settings.model.name == DEFAULT_METHOD
    if is_tcssa and settings.recipe != read_preset(settings.dataset).recipe:
        return []
    found = [
        Expectation(figure, statement, pooled.get(statement.metric))
        for figure, statement in _stated(settings.dataset, settings.model.name)
    ]
    if is_tcssa:
        same_size = [row for row in found if row.figure.num_slots == settings.model.num_slots]
        found = same_size or found
    return found


def _stated(dataset: str, method: str) -> Iterator[tuple[StatedFigure, Statement]]:
    """Yield a method's figures, each once, since a paper's charts repeat its tables."""
    seen = set()
    for statement in read_preset(dataset).expected:
        for figure in statement.figures:
            key = (statement.metric, figure.percent, figure.num_slots)
            if figure.method == method and key not in seen:
                seen.add(key)
                yield figure, statement
