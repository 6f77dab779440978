"""``slots.html``: the pictures of an inspection, and what each can and cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tcssa.mil.slots.ablation import SlotAblation
from tcssa.mil.slots.association import FoldAssociations, SlotAssociation
from tcssa.mil.slots.inspection import SlotInspection
from tcssa.mil.slots.plots import FDR
from tcssa.mil.slots.routed import model_name
from tcssa.reports.html_page import write_page

_LEAST_ROWS = 3
"""Slots of each fold that the tables show, however weak."""


def write_page_of(found: SlotInspection) -> None:
    """Write the page, atomically."""
    write_page(
        found.page,
        Path(__file__).with_suffix(".html"),
        found=found,
        named=model_name,
        plots=found.folder / "plots",
        num_slides=sum(use.num_slides for use in found.use),
        limits=list(dict.fromkeys(_limits(found.association))),
        associated=[row for fold in found.association for row in _strongest(fold)],
        num_associated=sum(row.q_value < FDR for fold in found.association for row in fold.slots),
        false_discovery_rate=FDR,
        emptied=[row for fold in found.ablation for row in _largest(fold)],
        probability=_probability,
    )


def _limits(association: list[FoldAssociations]) -> Iterator[str]:
    """Yield what the patients of each fold can reach at best."""
    for fold in association:
        if fold.smallest_p is not None:
            patients = " + ".join(map(str, fold.counts.values()))
            yield f"{patients} patients, p ≥ {_probability(fold.smallest_p)}"


def _strongest(fold: FoldAssociations) -> list[SlotAssociation]:
    ranked = sorted(fold.slots, key=lambda row: (row.p_value, row.slot))
    return ranked[: max(_LEAST_ROWS, sum(row.q_value < FDR for row in ranked))]


def _largest(fold: list[SlotAblation]) -> list[SlotAblation]:
    known = [row for row in fold if row.true_mean is not None]
    return sorted(known, key=lambda row: -abs(row.true_mean or 0))[:_LEAST_ROWS]


def _probability(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
