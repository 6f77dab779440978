"""Tables of slides with labels of any kind; patients may stand in a table of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple

from tcssa.errors import TableError
from tcssa.features.class_names import UnusableLabelError
from tcssa.features.patient_table import Joined, joined
from tcssa.features.tables import (
    CASE_COLUMNS,
    SITE_COLUMNS,
    SLIDE_COLUMNS,
    Label,
    LabelledSlide,
    find_column,
    patient_of,
    site_of,
    slide_name,
)
from tcssa.files.table import is_missing, plain_name, read_table

SKIP_HINT = "correct these lines, or leave them out by name with --skip-missing"


class LabelColumn(NamedTuple):
    """A column that a label is read from."""

    name: str
    """Name in messages."""
    spellings: Sequence[str]
    """Possible names in tables."""


class Labels(NamedTuple, Generic[Label]):
    """The slides of a table, each once, in the table's order."""

    slides: list[LabelledSlide[Label]]
    left_out: dict[str, str]
    """slide_id of each that has no usable label, with the reason."""


@dataclass(frozen=True)
class SlideTable:
    """The rows of a table of slides, whose columns of slide, patient and site are known."""

    path: Path
    columns: Sequence[str]
    rows: Mapping[int, Mapping[str, str]]
    places: Mapping[int, str]
    """Where each row stands, as messages say it."""
    slide: str | None
    """The column of slides; without it `require` raises."""
    case: str | None
    site: str | None
    left_out: dict[str, str] = field(default_factory=dict)
    """Slides that the label cannot be looked up for, with the reason."""
    readings: list[str] = field(default_factory=list)
    """What was read in one of several ways, in sentences."""

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        slide_table: Path | None = None,
        slide_column: str | None = None,
        case_column: str | None = None,
    ) -> SlideTable:
        """Read a label table, or join one of patients with one of their slides.

        Args:
            path: The table of labels: CSV or TSV with a header, or a workbook of Excel.
            slide_table: The table of each patient's slides, where ``path`` is one of patients.
            slide_column: The column of the slide; None looks for the usual names.
            case_column: The column of the patient, likewise.

        Raises:
            TableError: A table cannot be read, lacks a column that was named, or the two do not
                fit together.
        """
        if slide_table is None:
            alone = read_table(path)
            both = Joined(alone, {line: f"line {line}" for line in alone.rows}, {}, [])
        else:
            both = joined(path, slide_table, slide_column, case_column)
        table, places, left_out, readings = both
        return cls(
            path,
            table.columns,
            table.rows,
            places,
            named_column(path, table.columns, slide_column, SLIDE_COLUMNS),
            named_column(path, table.columns, case_column, CASE_COLUMNS),
            find_column(table.columns, SITE_COLUMNS),
            left_out,
            readings,
        )

    def cells(self, column: str) -> list[str]:
        """Return all cells of a column."""
        return [row[column] for row in self.rows.values()]

    def require(self, wanted: Sequence[LabelColumn], hint: str | None = None) -> list[str]:
        """Return the columns of a label as the table spells them, and note which were taken.

        Args:
            wanted: The columns of the label.
            hint: Hint of the error if a column of the label is missing.

        Raises:
            TableError: One of them is missing, or the column of the slide.
        """
        found = {column.name: find_column(self.columns, column.spellings) for column in wanted}
        if self.slide is None or None in found.values():
            names = ["slide_id", *found]
            needs = f"needs the columns {', '.join(names[:-1])} and {names[-1]}"
            if self.slide is None:
                hint = (
                    "name the column of slides with --slide-column; if the table is one of "
                    "patients, give their slides with --slide-table"
                )
            raise TableError(self.path, [f"{needs}, found: {', '.join(self.columns)}"], hint=hint)
        usual = {"slide_id": (self.slide, SLIDE_COLUMNS), "case_id": (self.case, CASE_COLUMNS)}
        taken = {**usual, **{c.name: (found[c.name], c.spellings) for c in wanted}}
        told = [
            f"{name} from {_among(column, spellings, self.columns)}"
            for name, (column, spellings) in taken.items()
            if column and _is_worth_telling(name, column, spellings, self.columns)
        ]
        if told:
            self.readings.append(f"{self.path.name}: {', '.join(told)}")
        return [column for column in found.values() if column is not None]

    def labels(
        self,
        columns: Sequence[str],
        read_label: Callable[[Sequence[str]], Label],
        *,
        skip_missing: bool = False,
    ) -> Labels[Label]:
        """Read the slides with their labels.

        Args:
            columns: The columns of the label; see `require`.
            read_label: Turns the cells of these columns into a label; raises UnusableLabelError
                where it is missing, ValueError on a fault.
            skip_missing: Leave out slides without a usable label.

        Raises:
            TableError: A slide_id is missing, ``read_label`` raised, or a slide is listed twice
                with different facts or spellings. All faults are listed with their place.
        """
        assert self.slide is not None  # `require` raised
        slides: dict[str, LabelledSlide[Label]] = {}
        left_out: dict[str, str] = {}
        faults = [f"{name}: {reason}" for name, reason in self.left_out.items()]
        unusable = len(faults)
        if skip_missing:
            left_out, faults = dict(self.left_out), []
        for line, row in self.rows.items():
            place = self.places[line]
            try:
                slide = self._slide(row, line, columns, read_label)
            except UnusableLabelError as fault:
                name, unusable = slide_name(row[self.slide]), unusable + 1
                if skip_missing:
                    left_out[name] = str(fault)
                else:
                    faults.append(f"{place}: {fault}")
                continue
            except ValueError as fault:
                faults.append(f"{place}: {fault}")
                continue
            first = slides.setdefault(slide.slide_id, slide)
            faults += self._unlike(first, slide)
        faults += [
            f"{self.places[slides[name].line]}: slide {name!r} appears twice, once without a label"
            for name in left_out
            if name in slides
        ]
        if faults:
            can_skip = unusable == len(faults) and not skip_missing
            hint = SKIP_HINT if can_skip else "correct these lines of the table"
            raise TableError(self.path, faults, hint=hint)
        return Labels(list(slides.values()), left_out)

    def _unlike(self, first: LabelledSlide[Label], slide: LabelledSlide[Label]) -> Iterator[str]:
        """Yield how a row differs from the one of the same slide that came first."""
        if first is slide or self.slide is None:
            return
        place, before = self.places[slide.line], self.places[first.line]
        if first != slide:
            yield (
                f"{place}: slide {slide.slide_id!r} appears twice, with different content "
                f"({before})"
            )
        elif self.rows[slide.line][self.slide] != self.rows[first.line][self.slide]:
            one, other = (self.rows[each.line][self.slide] for each in (slide, first))
            yield f"{place}: {one!r} has the slide_id of {before}: {other!r}"

    def _slide(
        self,
        row: Mapping[str, str],
        line: int,
        columns: Sequence[str],
        read_label: Callable[[Sequence[str]], Label],
    ) -> LabelledSlide[Label]:
        """Read one row.

        Raises:
            ValueError: The slide_id is missing, or ``read_label`` raised it.
        """
        cell = row[self.slide] if self.slide else ""
        slide_id = "" if is_missing(cell) else slide_name(cell)
        if not slide_id:
            raise ValueError(f"the slide_id is missing ({cell!r})" if cell else _NO_SLIDE)
        label = read_label([row[column] for column in columns])
        stated = _known(row, self.case)
        case_id = stated or patient_of(slide_id)
        site = _known(row, self.site) or site_of(slide_id)
        known = bool(stated) or case_id != slide_id
        return LabelledSlide(slide_id, case_id, label, known, site, line)


_NO_SLIDE = "the slide_id is empty"


def named_column(
    path: Path, header: Sequence[str], named: str | None, usual: Sequence[str]
) -> str | None:
    """Find the column that the user named, or else one of the usual names.

    Args:
        path: The table.
        header: Names of its columns.
        named: The name that the user gave; None for none.
        usual: The usual names.

    Raises:
        TableError: The table lacks the column that was named.
    """
    column = find_column(header, [named] if named else usual)
    if named and column is None:
        raise TableError(path, [f"has no column {named!r}, found: {', '.join(header)}"])
    return column


def _known(row: Mapping[str, str], column: str | None) -> str | None:
    """Return a cell; None where there is no such column, or its value is not known."""
    return row[column] if column and not is_missing(row[column]) else None


def _others(column: str, spellings: Sequence[str], header: Sequence[str]) -> list[str]:
    """Return the columns that could have been meant too."""
    names = {plain_name(name) for name in spellings}
    return [name for name in header if plain_name(name) in names and name != column]


def _among(column: str, spellings: Sequence[str], header: Sequence[str]) -> str:
    others = _others(column, spellings, header)
    return f"{column!r}" + (f" (not {', '.join(map(repr, others))})" if others else "")


def _is_worth_telling(
    name: str, column: str, spellings: Sequence[str], header: Sequence[str]
) -> bool:
    """Tell whether a column has another name, or was chosen among several."""
    return plain_name(column) != plain_name(name) or bool(_others(column, spellings, header))
