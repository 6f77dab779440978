"""Label tables with one class a slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tcssa.features.class_names import ClassNames
from tcssa.features.slide_table import LabelColumn, Labels, SlideTable
from tcssa.features.tables import LABEL_COLUMNS, LabelledSlide


def read_labels(
    path: Path,
    *,
    label_column: str | None = None,
    case_column: str | None = None,
    classes: Sequence[str] | None = None,
    label_names: Mapping[str, str] | None = None,
) -> list[LabelledSlide[str]]:
    """Read a label table with one class per slide.

    Args:
        path: CSV or TSV with a header, or a workbook of Excel.
        label_column: The column of the label; None looks for the usual names.
        case_column: The column of the patient, likewise.
        classes: The labels that may occur, matched regardless of case; None accepts all.
        label_names: Other spellings of labels, such as ``{"0": "LUAD", "1": "LUSC"}``.

    Raises:
        TableError: Columns are missing, cells are empty, a label is unknown, or a slide is listed
            twice with different facts. All faults are listed with their line.
    """
    table = SlideTable.read(path, case_column=case_column)
    return read_classes(table, label_column, classes, label_names or {}).slides


def read_classes(
    table: SlideTable,
    label_column: str | None,
    classes: Sequence[str] | None,
    label_names: Mapping[str, str],
    *,
    skip_missing: bool = False,
) -> Labels[str]:
    """Read the one class of each slide; see `read_labels`.

    Args:
        table: The table of slides.
        label_column: The column of the label; None looks for the usual names.
        classes: The labels that may occur; None accepts all.
        label_names: Other spellings of labels.
        skip_missing: Leave out slides of no class, or of another one.
    """
    column = column_of_label(table, label_column)
    read_class = ClassNames(classes, label_names, table.cells(column))
    return table.labels([column], lambda cells: read_class(cells[0]), skip_missing=skip_missing)


def column_of_label(table: SlideTable, named: str | None) -> str:
    """Return the column of the one label of each slide.

    Args:
        table: The table of slides.
        named: The column that the user named; None looks for the usual names.

    Raises:
        TableError: There is none.
    """
    wanted = LabelColumn("label", (named,) if named else LABEL_COLUMNS)
    hint = "name the label's column with --label-column if it has another name"
    (column,) = table.require([wanted], hint)
    return column
