"""Writer of the page of predictions: tables, and the slides' pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tcssa.mil.prediction.given_slides import FailedSlide
from tcssa.mil.prediction.predicted_rows import Columns, PredictedRow
from tcssa.mil.prediction.slide_pictures import SlidePictures
from tcssa.reports.html_page import number, write_page

REPORT_FILE = "report.html"
MOST_SHOWN = 200
"""Slides with a picture, and rows of a table, on a page that still opens; the tables hold all."""


def write_prediction_page(
    folder: Path,
    columns: Columns,
    slides: Sequence[PredictedRow],
    cases: Sequence[PredictedRow] | None,
    failed: Sequence[FailedSlide],
    facts: Mapping[str, Any],
    pictures: SlidePictures,
) -> None:
    """Write the page, atomically.

    Args:
        folder: Folder of the predictions.
        columns: Computes the cells of rows.
        slides: The slides.
        cases: The patients, if they were asked for.
        failed: The slides that could not be predicted.
        facts: The content of ``prediction.json``.
        pictures: The slides' pictures: maps of those that come first, thumbnails of the others.
    """
    columns = columns.narrowed([*slides, *(cases or [])])
    order, ranked = _ranked(slides, columns)
    shown = ranked[:MOST_SHOWN]
    figures = [
        (picture, _caption(row, columns, slide_id))
        for row in shown
        for slide_id in row.slides
        if (picture := pictures(slide_id))
    ]
    write_page(
        folder / REPORT_FILE,
        Path(__file__).with_suffix(".html"),
        task=columns.task,
        readings=columns.readings(),
        facts=facts,
        header=columns.header,
        order=order,
        slides=[[row.name, *_texts(row, columns)] for row in shown],
        cases=None if cases is None else [[row.name, *_texts(row, columns)] for row in cases],
        num_slides=len(slides),
        most=MOST_SHOWN,
        failed=failed,
        figures=figures,
        pictures=pictures,
    )


def _ranked(slides: Sequence[PredictedRow], columns: Columns) -> tuple[str, Sequence[PredictedRow]]:
    """Return the slides that are to be looked at first, and a sentence about their order."""
    values = {row.name: columns.values(row.outputs.final) for row in slides}
    if columns.task.kind in ("classes", "ordinal"):
        certain = sorted(slides, key=lambda row: max(values[row.name]))
        return "The least certain come first.", certain
    if columns.task.kind == "survival":
        by_risk = sorted(slides, key=lambda row: fmean(values[row.name]))
        return "The highest risks come first.", by_risk
    if columns.task.kind == "regression":
        by_number = sorted(slides, key=lambda row: -values[row.name][0])
        return "The largest numbers come first.", by_number
    return "In the order of their names.", slides


def _texts(row: PredictedRow, columns: Columns) -> list[str]:
    values = [number(value) for value in columns.shown(row)]
    others = [*columns.decided(row), *columns.at_thresholds(row), *columns.agreement(row)]
    unlike = "" if row.outputs.unlike is None else f"{row.outputs.unlike:.3f}"
    return [*values, *map(_text, others), str(row.num_patches), unlike]


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return number(cell) if isinstance(cell, float) else str(cell)


def _caption(row: PredictedRow, columns: Columns, slide_id: str) -> str:
    of = "" if slide_id == row.name else f"{slide_id} of "
    decided = ", ".join(map(_text, columns.decided(row)))
    if columns.differs(row):
        decided += f", at the threshold {', '.join(map(_text, columns.at_thresholds(row)))}"
    values = zip(columns.task.value_columns, columns.shown(row), strict=True)
    shown = ", ".join(f"{name.removeprefix('prob_')} {number(value, 2)}" for name, value in values)
    return f"{of}{row.name}: {decided} ({shown})"
