"""Patients of slides that have no labels: as a table says it, or as a TCGA barcode tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tcssa.errors import UsageError, counted
from tcssa.features.name_matching import by_barcode, matched_names
from tcssa.features.slide_table import LabelColumn, SlideTable
from tcssa.features.tables import CASE_COLUMNS, patient_of
from tcssa.files.names import file_name
from tcssa.reporter import Reporter


def read_cases(table: Path, reporter: Reporter) -> dict[str, str]:
    """Read the patients of slides, from a table with the columns of a label table.

    Args:
        table: CSV or TSV with the columns ``slide_id`` and ``case_id``, or usual names for them.
        reporter: Told which columns were taken, where there is a choice.

    Returns:
        case_id by slide_id, of the slides for which the table or a TCGA barcode gives it.

    Raises:
        TableError: The table is faulty.
    """
    slides = SlideTable.read(table)
    slides.require([LabelColumn("case_id", CASE_COLUMNS)])
    for reading in slides.readings:
        reporter.note(reading)
    rows = slides.labels([], lambda _: None).slides
    return {row.slide_id: row.case_id for row in rows if row.case_is_known}


def cases_of(
    slide_ids: Iterable[str], table: Mapping[str, str], tell: Callable[[str], None]
) -> dict[str, str]:
    """Look up the patients of slides.

    Args:
        slide_ids: The slides.
        table: case_id by slide_id, as `read_cases` returns it.
        tell: Told, in a sentence, of names that were matched without their UUID.

    Returns:
        case_id by slide_id, of the slides whose patient the table or a TCGA barcode tells; any
        other slide counts as a patient of its own.
    """
    names = list(slide_ids)
    matched = matched_names(names, table)
    for reading in by_barcode(matched, "patients"):
        tell(reading)
    derived = {name: patient_of(name) for name in names if patient_of(name) != name}
    return derived | {name: table[other] for name, other in matched.items()}


def warn_of_unknown(slide_ids: Iterable[str], cases: Mapping[str, str], reporter: Reporter) -> None:
    """Warn of slides whose patient is not known.

    Args:
        slide_ids: The slides.
        cases: What `cases_of` returned.
        reporter: Receives the warning.
    """
    unknown = sum(name not in cases for name in slide_ids)
    if unknown:
        reporter.warn(
            f"no patient is known for {counted(unknown, 'slide')}: each counts as a patient of its "
            "own; give a table of slide_id and case_id with --cases"
        )


def require_file_names(cases: Iterable[str]) -> None:
    """Require that patients can name files.

    Raises:
        UsageError: A case_id is no plain name.
    """
    for case_id in cases:
        try:
            file_name(case_id)
        except ValueError as fault:
            hint = "a patient's file is named by its case_id: write it otherwise in the table"
            raise UsageError(f"case_id {fault}", hint=hint) from None
