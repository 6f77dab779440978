"""Label tables: the patient and the label of each slide.

The usual column names of the field are accepted (docs/formats.md): CLAM's
``case_id,slide_id,label``, the TC-SSA reference's ``slide_id,label``, PANDA's
``image_id,isup_grade``, STAMP's ``PATIENT,FILENAME``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from tcssa.errors import TableError
from tcssa.files.table import Table, plain_name, read_table

_SLIDE_COLUMNS = ("slide_id", "image_id", "sample_id", "filename", "slide", "wsi")
_CASE_COLUMNS = (
    "case_id", "patient_id", "patient", "case", "case_submitter_id", "submitter_id", "subject_id",
    "subject", "bcr_patient_barcode", "participant_id",
)  # fmt: skip
_SITE_COLUMNS = ("site", "tissue_source_site", "center", "centre", "hospital", "data_provider")
_LABEL_COLUMNS = ("label", "isup_grade", "class", "target")
_SLIDE_EXTENSION = re.compile(
    r"\.(ome\.tiff?|ome\.zarr|svs|tiff?|ndpi|mrxs|scn|svslide|bif|vms|vmu|dcm|czi|h5|hdf5|pt|npy|csv)$",
    re.IGNORECASE,
)
_MAX_LABEL = 1000
"""Most characters; a longer label is text in the wrong column, or rows merged by a fault."""
_TCGA = re.compile(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)


Label = TypeVar("Label")
"""A label as read from its cells."""


@dataclass(frozen=True)
class LabelledSlide(Generic[Label]):
    """One row of a label table."""

    slide_id: str
    case_id: str
    label: Label
    case_is_known: bool = True
    """Whether the patient is known; otherwise the slide counts as a patient of its own."""
    site: str | None = None
    """The site the slide comes from, if the table or a TCGA barcode gives it."""
    line: int = field(default=0, compare=False)
    """Line of the table."""


def find_column(columns: Sequence[str], spellings: Sequence[str]) -> str | None:
    """Find a column by its possible names; case, spaces and underscores do not count.

    Args:
        columns: Names of the table's columns.
        spellings: Possible names, the preferred ones first.

    Returns:
        The column's name as the table spells it; None if there is none.
    """
    known = {plain_name(column): column for column in columns}
    return next((known[plain_name(name)] for name in spellings if plain_name(name) in known), None)


def slide_name(text: str) -> str:
    """Return the slide_id of a path or file name: without folders and a slide's extension."""
    return _SLIDE_EXTENSION.sub("", re.split(r"[/\\]", text)[-1])


def patient_of(slide_id: str) -> str:
    """Derive the patient of a slide from its slide_id, for tables that do not state it.

    A TCGA barcode names its patient in the first twelve characters; any other slide is taken
    to be a patient of its own.
    """
    return slide_id[:12].upper() if _TCGA.match(slide_id) else slide_id


def site_of(slide_id: str) -> str | None:
    """Return the tissue source site in a TCGA barcode; None for any other slide."""
    return slide_id[5:7].upper() if _TCGA.match(slide_id) else None


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
        path: CSV or TSV with a header.
        label_column: The column of the label; None looks for the usual names.
        case_column: The column of the patient, likewise.
        classes: The labels that may occur, matched regardless of case; None accepts all.
        label_names: Other spellings of labels, such as ``{"0": "LUAD", "1": "LUSC"}``.

    Raises:
        TableError: Columns are missing, cells are empty, a label is unknown, or a slide is listed
            twice with different facts. All faults are listed with their line.
    """
    read_class = ClassNames(classes, label_names or {})
    return read_slides(
        path,
        [LabelColumn("label", (label_column,) if label_column else _LABEL_COLUMNS)],
        lambda cells: read_class(cells[0]),
        case_column=case_column,
        hint="name the label's column with --label-column if it has another name",
    )


class ClassNames:
    """Reads the name of a class, spelt in one way throughout a table.

    Args:
        classes: The names that may occur, matched regardless of case; None accepts all.
        label_names: Names of classes by other spellings of them.
    """

    def __init__(self, classes: Sequence[str] | None, label_names: Mapping[str, str]) -> None:
        self._known = {name.lower(): name for name in classes or ()}
        self._label_names = label_names
        self._spelt: dict[str, str] = {}

    def __call__(self, cell: str) -> str:
        """Return the class that a cell names.

        Raises:
            ValueError: The cell is empty, too long, no known class, or spelt differently elsewhere
                in the table.
        """
        label = self._label_names.get(cell, cell)
        if not label:
            raise ValueError("the label is empty")
        if len(label) > _MAX_LABEL:
            raise ValueError(f"the label has {len(label):,} characters")
        if self._known and label.lower() not in self._known:
            raise ValueError(f"label {label!r} is none of {', '.join(self._known.values())}")
        label = self._known.get(label.lower(), label)
        first = self._spelt.setdefault(_seen(label), label)
        if first != label:
            raise ValueError(f"{label!r} stands elsewhere as {first!r}")
        return label


def _seen(label: str) -> str:
    """Reduce a label to its appearance, so that labels that look alike are not two classes."""
    shown = "".join(sign for sign in label if unicodedata.category(sign) not in ("Cc", "Cf"))
    return unicodedata.normalize("NFKC", shown).lower()


class LabelColumn(NamedTuple):
    """A column that a label is read from."""

    name: str
    """Name in messages."""
    spellings: Sequence[str]
    """Possible names in tables."""


def read_slides(
    path: Path,
    columns: Sequence[LabelColumn],
    read_label: Callable[[Sequence[str]], Label],
    *,
    case_column: str | None = None,
    hint: str | None = None,
    table: Table | None = None,
) -> list[LabelledSlide[Label]]:
    """Read a table of slides with labels of any kind.

    Args:
        path: CSV or TSV with a header.
        columns: The columns of the label.
        read_label: Turns the cells of these columns into a label; raises ValueError on a fault.
        case_column: The column of the patient; None looks for the usual names.
        hint: Hint of the error if a column is missing.
        table: The content of the file, if it has been read.

    Returns:
        The slides in the table's order, each one once.

    Raises:
        TableError: Columns are missing, a slide_id is empty, ``read_label`` raised ValueError, or a
            slide is listed twice with different facts or spellings. All faults are listed with
            their line.
    """
    table = table or read_table(path)
    where = _columns(path, table.columns, columns, case_column, hint)
    slides: dict[str, LabelledSlide[Label]] = {}
    faults: list[str] = []
    for line, row in table.rows.items():
        try:
            slide = _slide(row, line, where, read_label)
        except ValueError as fault:
            faults.append(f"line {line}: {fault}")
            continue
        first = slides.setdefault(slide.slide_id, slide)
        if first != slide:
            faults.append(
                f"line {line}: slide {slide.slide_id!r} appears twice, with different content"
            )
        elif row[where.slide] != table.rows[first.line][where.slide]:
            other = f"line {first.line}: {table.rows[first.line][where.slide]!r}"
            faults.append(f"line {line}: {row[where.slide]!r} has the slide_id of {other}")
    if faults:
        raise TableError(path, faults, hint="correct these lines of the table")
    return list(slides.values())


class _Columns(NamedTuple):
    """Columns of a label table by their meaning."""

    slide: str
    label: Sequence[str]
    case: str | None
    site: str | None


def _columns(
    path: Path,
    header: Sequence[str],
    label: Sequence[LabelColumn],
    case_column: str | None,
    hint: str | None,
) -> _Columns:
    slide = find_column(header, _SLIDE_COLUMNS)
    case = find_column(header, [case_column] if case_column else _CASE_COLUMNS)
    found = {column.name: find_column(header, column.spellings) for column in label}
    shown = ", ".join(header)
    if slide is None or None in found.values():
        names = ["slide_id", *found]
        wanted = f"{', '.join(names[:-1])} and {names[-1]}"
        raise TableError(path, [f"needs the columns {wanted}, found: {shown}"], hint=hint)
    if case_column and case is None:
        raise TableError(path, [f"has no column {case_column!r}, found: {shown}"])
    labels = [column for column in found.values() if column is not None]
    return _Columns(slide, labels, case, find_column(header, _SITE_COLUMNS))


def _slide(
    row: Mapping[str, str],
    line: int,
    columns: _Columns,
    read_label: Callable[[Sequence[str]], Label],
) -> LabelledSlide[Label]:
    """Read one row.

    Raises:
        ValueError: The slide_id is empty, or ``read_label`` raised it.
    """
    slide_id = slide_name(row[columns.slide])
    if not slide_id:
        raise ValueError("the slide_id is empty")
    label = read_label([row[column] for column in columns.label])
    stated = row[columns.case] if columns.case else ""
    case_id = stated or patient_of(slide_id)
    site = (row[columns.site] if columns.site else "") or site_of(slide_id)
    known = bool(stated) or case_id != slide_id
    return LabelledSlide(slide_id, case_id, label, known, site, line)
