"""Figures of decisions and of probabilities as rows, for pages and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tcssa.mil.reporting.metric_names import written

Row = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""A name and two figures with their intervals."""


def decisions(scores: Mapping[str, Any]) -> list[Row]:
    """Return sensitivity and specificity, of predicted classes and at the threshold.

    Args:
        scores: Figures of one label, as in ``metrics.json``.
    """
    named = {f"{name} predicted": found for name, found in scores.get("by_class", {}).items()}
    if at := scores.get("at_threshold"):
        named[f"{at['positive']} at threshold"] = at
    return [(name, found["sensitivity"], found["specificity"]) for name, found in named.items()]


def scaling(scores: Mapping[str, Any]) -> list[Row]:
    """Return figures of the probabilities as they are, and scaled by temperature.

    Args:
        scores: Figures of one label, as in ``metrics.json``.
    """
    before, after = scores.get("unscaled", {}), scores.get("scaled", {})
    return [(written(name), before[name], after[name]) for name in before if name in after]
