"""A table of patients joined with one of their slides, as STAMP has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tcssa.errors import TableError, counted
from tcssa.features.name_matching import nearest, shown
from tcssa.features.tables import CASE_COLUMNS, SLIDE_COLUMNS, find_column, slide_name
from tcssa.files.table import Table, is_missing, read_table


class Joined(NamedTuple):
    """One row a slide, with the columns of both tables."""

    table: Table
    places: dict[int, str]
    """Where each row stands in both tables."""
    left_out: dict[str, str]
    """Slides of patients that the other table lacks."""
    readings: list[str]


def joined(
    patients: Path, slides: Path, slide_column: str | None, case_column: str | None
) -> Joined:
    """Give each slide the facts of its patient.

    Args:
        patients: The table of patients.
        slides: The table of slides, each with its patient.
        slide_column: The column of slides; None looks for the usual names.
        case_column: The column of patients in both tables, likewise.

    Raises:
        TableError: A column is missing, a patient or a slide is not named, a patient stands twice
            with different content, the tables contradict each other, or share no patient.
    """
    of_patients, of_slides = read_table(patients), read_table(slides)
    names = [case_column, *CASE_COLUMNS] if case_column else CASE_COLUMNS
    case, case_of_slides = _column(patients, of_patients, names), _column(slides, of_slides, names)
    slide = _column(slides, of_slides, [slide_column] if slide_column else SLIDE_COLUMNS)
    if find_column(of_patients.columns, [slide]):
        raise TableError(
            patients,
            f"names slides itself, in the column {slide!r}",
            hint="leave --slide-table out, or take that column out of the table of patients",
        )
    lines = _lines_of(patients, of_patients, case)
    rows: dict[int, dict[str, str]] = {}
    places, left_out, faults = {}, {}, []
    for line, row in of_slides.rows.items():
        patient = row[case_of_slides]
        if is_missing(patient):
            faults.append(f"line {line}: names no patient")
        elif patient not in lines:
            left_out[slide_name(row[slide])] = f"patient {patient!r} is not in {patients.name}"
        else:
            facts = of_patients.rows[lines[patient]]
            faults += _contradictions(line, row, facts, {case, case_of_slides}, patients)
            rows[line] = {
                name: cell for name, cell in row.items() if name != case_of_slides
            } | facts
            places[line] = f"line {lines[patient]} (slide in line {line} of {slides.name})"
    if faults:
        raise TableError(slides, faults, hint="correct these lines of the table")
    stated = {row[case_of_slides] for row in of_slides.rows.values()}
    if not rows:
        raise TableError(
            slides,
            f"shares no patient with {patients.name}: here {shown(stated)}; there {shown(lines)}; "
            f"{nearest(stated, lines)}",
            hint="the names of patients do not match; name their column with --case-column",
        )
    columns = list(next(iter(rows.values())))
    without = sorted(lines.keys() - stated)
    lone = f"; no slide of {counted(len(without), 'patient')}: {shown(without)}" if without else ""
    used = counted(len({row[case] for row in rows.values()}), "patient")
    found = counted(len(rows), "slide")
    reading = f"{used} of {patients.name} with {found} of {slides.name}{lone}"
    return Joined(Table(columns, rows), places, left_out, [reading])


def _column(path: Path, table: Table, names: Sequence[str]) -> str:
    column = find_column(table.columns, names)
    if column is None:
        found = ", ".join(table.columns)
        raise TableError(
            path,
            f"has no column {names[0]}, found: {found}",
            hint="name the columns with --slide-column and --case-column",
        )
    return column


def _lines_of(path: Path, table: Table, case: str) -> dict[str, int]:
    """Return the line of each patient.

    Raises:
        TableError: A patient is not named, or stands twice with different content.
    """
    lines: dict[str, int] = {}
    faults = []
    for line, row in table.rows.items():
        if is_missing(row[case]):
            faults.append(f"line {line}: names no patient")
        elif table.rows[lines.setdefault(row[case], line)] != row:
            one = lines[row[case]]
            faults.append(f"line {line}: patient {row[case]!r} differs from line {one}")
    if faults:
        raise TableError(path, faults, hint="correct these lines of the table")
    return lines


def _contradictions(
    line: int, slide: Mapping[str, str], patient: Mapping[str, str], cases: set[str], path: Path
) -> list[str]:
    """List the columns of both tables in which a slide's row differs from its patient's."""
    return [
        f"line {line}: {column} is {slide[column]!r}, and {patient[column]!r} in {path.name}"
        for column in slide.keys() & patient.keys() - cases
        if slide[column] != patient[column]
    ]
