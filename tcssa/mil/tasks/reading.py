"""Reader of a label table: the task, and the labels of its slides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tcssa.errors import TableError, UsageError, counted
from tcssa.features import LabelledSlide
from tcssa.features.class_names import (
    ClassNames,
    MissingLabelError,
    UnusableLabelError,
    missing,
)
from tcssa.features.labels import column_of_label, read_classes
from tcssa.features.slide_table import LabelColumn, SlideTable
from tcssa.files.table import is_missing, number
from tcssa.mil.settings import CohortSettings
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import OneNumber, Several
from tcssa.mil.tasks.ordinal import Ordinal
from tcssa.mil.tasks.prediction import Truth
from tcssa.mil.tasks.regression import Regression, read_value
from tcssa.mil.tasks.survival import Survival
from tcssa.mil.tasks.survival_columns import survival_columns

_KINDS: dict[str, type[Classes]] = {"classes": Classes, "ordinal": Ordinal}
_OF_TARGETS = (*_KINDS, Regression.kind)

_TIMES = "its columns are time and event: --time-column, --event-column"
_NOT_OF_SURVIVAL = {"--target": _TIMES, "--class": _TIMES, "--label-column": _TIMES}
_NOT_OF_NUMBERS = {
    "--class": "labels are numbers; for classes or grades take another --kind",
    "names for labels (label_names)": "labels are numbers; take the names out of the settings",
}


_MOST_NUMERIC = 10
"""Most whole numbers that are read as names of classes without a word."""


class TaskLabels(NamedTuple):
    """Content of a label table."""

    task: MilTask
    slides: list[LabelledSlide[Truth]]
    left_out: dict[str, str]
    """slide_id of each without a usable label, with the reason."""
    readings: list[str]
    """What was read in one of several ways, in sentences."""


def read_task(data: CohortSettings, known: MilTask | None = None) -> TaskLabels:
    """Read the labels of a cohort.

    Args:
        data: Settings of the cohort: where the labels are, and of which kind.
        known: The task of a run that is to predict them; then its classes are the ones that may
            occur, and not all need to.

    Raises:
        UsageError: Settings do not go together.
        TableError: The table is faulty, or holds nothing to learn; all faults with their line.
    """
    assert data.labels is not None  # the cohort requires it
    read: Callable[[CohortSettings, SlideTable, MilTask | None], TaskLabels] = _read_classes
    if data.kind == Survival.kind:
        _require_meaning(data, _NOT_OF_SURVIVAL)
        read = _read_survival
    elif data.targets:
        read = _read_several
    elif data.kind == Regression.kind:
        _require_meaning(data, _NOT_OF_NUMBERS)
        read = _read_numbers
    table = SlideTable.read(
        data.labels,
        slide_table=data.slide_table,
        slide_column=data.slide_column,
        case_column=data.case_column,
    )
    return read(data, table, known)


def _read_classes(data: CohortSettings, table: SlideTable, known: MilTask | None) -> TaskLabels:
    stated = list(known.classes) if isinstance(known, Classes) else data.classes
    rows, left_out = read_classes(
        table, data.label_column, stated, data.label_names, skip_missing=data.skip_missing
    )
    task = _task(data, data.kind, table.path, [row.label for row in rows], known)
    slides = [_labelled(row, (float(task.classes.index(row.label)),)) for row in rows]
    numeric = [] if known or data.classes else numeric_classes(task)
    return TaskLabels(task, slides, left_out, table.readings + numeric)


def numeric_classes(task: MilTask) -> list[str]:
    """Return a sentence on classes that look like numbers: fractions, or many; else nothing."""
    names = task.label_names
    numbers = [value for is_word, value, _ in map(_natural, names) if not is_word]
    is_few = len(names) <= _MOST_NUMERIC and all(value.is_integer() for value in numbers)
    if task.kind != Classes.kind or len(numbers) < len(names) or is_few:
        return []
    return [
        f"the {len(names)} different labels are numbers, and each is taken for a class: "
        "--kind regression learns them as numbers"
    ]


def _task(
    data: CohortSettings,
    kind: str,
    path: Path,
    labels: Sequence[str],
    known: MilTask | None,
    of: str = "",
) -> Classes:
    """Return the task of these labels; ``of`` says which target's they are.

    Raises:
        TableError: There are fewer than two different labels, or the order of grades is not known.
    """
    if isinstance(known, Classes):
        return known
    found = sorted(set(labels), key=_natural)
    if len(found) < 2:
        what = f"all slides have one label, {found[0]!r}" if found else "no slide has a label"
        raise TableError(path, [of + what])
    classes = data.classes or found
    if kind == Ordinal.kind and not data.classes and any(_natural(name)[0] for name in found):
        raise TableError(
            path,
            [f"{of}the order of these grades is not known: {', '.join(found)}"],
            hint="name them from the lowest to the highest: --class LOW --class HIGH",
        )
    return _KINDS[kind](tuple(classes))


def _read_several(data: CohortSettings, table: SlideTable, known: MilTask | None) -> TaskLabels:
    if data.label_column:
        raise UsageError("--target names the columns of labels: leave --label-column out")
    kinds = _kinds_of_targets(data, table)
    columns = table.require(
        [LabelColumn(name, (name,)) for name in kinds],
        f"--target takes a column, or COLUMN=KIND with one of {', '.join(_OF_TARGETS)}",
    )
    of_run = dict(known.tasks) if isinstance(known, Several) else {}
    readers = []
    for (name, kind), column in zip(kinds.items(), columns, strict=True):
        read: Callable[[str], str | float] = _number
        if kind != Regression.kind:
            own = of_run.get(name)
            classes = own.classes if isinstance(own, Classes) else data.classes
            read = ClassNames(classes, data.label_names, table.cells(column))
        readers.append(_Target(name, read, skips_others=data.skip_missing))
    rows, left_out = table.labels(
        columns,
        lambda cells: tuple(read(cell) for read, cell in zip(readers, cells, strict=True)),
        skip_missing=data.skip_missing,
    )
    if all(label is None for row in rows for label in row.label):
        raise TableError(table.path, [f"no slide has a known label of {', '.join(kinds)}"])
    tasks: dict[str, OneNumber] = {}
    for index, (name, kind) in enumerate(kinds.items()):
        labels = [label for row in rows if (label := row.label[index]) is not None]
        run_task, of = of_run.get(name), f"target {name}: "
        if kind == Regression.kind:
            numbers = [label for label in labels if isinstance(label, float)]
            tasks[name] = _task_of_numbers(table.path, numbers, run_task, of)
        else:
            names = [label for label in labels if isinstance(label, str)]
            tasks[name] = _task(data, kind, table.path, names, run_task, of)
    labelled = []
    for row in rows:
        pairs = zip(row.label, tasks.values(), strict=True)
        labelled.append(_labelled(row, tuple(_as_number(label, task) for label, task in pairs)))
    others = [sentence for reader in readers for sentence in reader.others()]
    return TaskLabels(Several(tasks), labelled, left_out, table.readings + others)


def _as_number(label: str | float | None, task: OneNumber) -> float | None:
    """Return the number of a class among those of its task; numbers and the unknown stay."""
    if isinstance(label, str):
        assert isinstance(task, Classes)  # labels of numbers are read as such
        return float(task.classes.index(label))
    return label


def _kinds_of_targets(data: CohortSettings, table: SlideTable) -> dict[str, str]:
    """Return the kind of each target by its column; ``COLUMN=KIND`` says it, else it is --kind's.

    Raises:
        UsageError: A target is given twice or can be read in two ways, or there are names of
            classes, and no target is of classes.
    """
    kinds: dict[str, str] = {}
    for text in data.targets:
        column, _, kind = text.rpartition("=")
        is_stated = bool(column) and kind in _OF_TARGETS
        if is_stated and {text, column} <= set(table.columns):
            raise UsageError(
                f"--target {text} may be the column {text} or the column {column}, of {kind}",
                hint="rename one of the columns",
            )
        if not is_stated or text in table.columns:
            column, kind = text, data.kind
        if column in kinds:
            raise UsageError("give each --target once")
        kinds[column] = kind
    if set(kinds.values()) == {Regression.kind}:
        _require_meaning(data.model_copy(update={"kind": Regression.kind}), _NOT_OF_NUMBERS)
    return kinds


class _Target:
    """Reads the cells of one target, of which some may not be known.

    Args:
        name: The target, named in errors.
        read: Reads the name of a class, or a number.
        skips_others: Whether classes that are not wanted count as unknown.
    """

    def __init__(
        self, name: str, read: Callable[[str], str | float], *, skips_others: bool
    ) -> None:
        self._name, self._read, self._skips_others = name, read, skips_others
        self._others: list[str] = []

    def __call__(self, cell: str) -> str | float | None:
        """Return the class or the number in a cell; None where it is unknown."""
        try:
            return self._read(cell)
        except MissingLabelError:
            return None
        except ValueError as fault:
            if isinstance(fault, UnusableLabelError) and self._skips_others:
                self._others.append(cell)
                return None
            raise type(fault)(f"target {self._name}: {fault}") from None

    def others(self) -> list[str]:
        """Return a sentence on the labels that count as unknown, if there are some."""
        if not self._others:
            return []
        names = ", ".join(sorted(set(self._others)))
        found = counted(len(self._others), "label")
        return [f"target {self._name}: {found} of other classes count as unknown: {names}"]


def _require_meaning(data: CohortSettings, unfit: Mapping[str, str]) -> None:
    """Refuse settings that have no meaning for a kind of label.

    Args:
        data: Settings of the cohort.
        unfit: Options without a meaning, each with what to do instead.

    Raises:
        UsageError: One of them is given, or two that contradict each other.
    """
    flags: dict[str, object] = {
        "--target": data.targets,
        "--class": data.classes,
        "--label-column": data.label_column,
        "names for labels (label_names)": data.label_names,
    }
    for flag, hint in unfit.items():
        if flags[flag]:
            raise UsageError(f"{flag} has no meaning with --kind {data.kind}", hint=hint)
    if data.event_column and data.censorship_column:
        raise UsageError(
            "--event-column and --censorship-column are both given",
            hint="one says 1 where the event happened, the other 1 where it did not: give one",
        )


def _read_numbers(data: CohortSettings, table: SlideTable, known: MilTask | None) -> TaskLabels:
    column = column_of_label(table, data.label_column)
    rows, left_out = table.labels([column], _number_in, skip_missing=data.skip_missing)
    task = _task_of_numbers(table.path, [row.label for row in rows], known)
    slides = [_labelled(row, (row.label,)) for row in rows]
    return TaskLabels(task, slides, left_out, table.readings)


def _task_of_numbers(
    path: Path, labels: Sequence[float], known: MilTask | None, of: str = ""
) -> Regression:
    """Return the task of these labels; ``of`` says which target's they are.

    Raises:
        TableError: There are fewer than two different labels.
    """
    if isinstance(known, Regression):
        return known
    if len(set(labels)) < 2:
        what = f"all slides have one label, {labels[0]:g}" if labels else "no slide has a label"
        raise TableError(path, [of + what])
    return Regression.of_labels(labels)


def _number_in(cells: Sequence[str]) -> float:
    (cell,) = cells
    return _number(cell)


def _number(cell: str) -> float:
    if is_missing(cell):
        raise MissingLabelError(missing("label", cell))
    return read_value("label", cell)


def _read_survival(data: CohortSettings, table: SlideTable, known: MilTask | None) -> TaskLabels:
    found = survival_columns(data, table)
    rows, left_out = table.labels(found.columns, found.read, skip_missing=data.skip_missing)
    _require_one_time_a_patient(table, rows)
    num_events = sum(event == 1 for _, event in (row.label for row in rows))
    if known is None and not num_events:
        raise TableError(
            table.path,
            [f"no slide of {len(rows)} has an event: all are censored"],
            hint="there is nothing to learn; look at the column of the event",
        )
    event = f"event = {num_events} of {counted(len(rows), 'slide')} (from {found.event})"
    readings = [*table.readings, *found.readings, event]
    slides = [_labelled(row, row.label) for row in rows]
    return TaskLabels(Survival(num_spans=data.time_spans), slides, left_out, readings)


def _require_one_time_a_patient(
    table: SlideTable, rows: Sequence[LabelledSlide[tuple[float, float]]]
) -> None:
    """Require that all slides of a patient share one time and event.

    Raises:
        TableError: Two slides of a patient differ; the lines are named.
    """
    first: dict[str, LabelledSlide[tuple[float, float]]] = {}
    faults = [
        f"{table.places[row.line]}: patient {row.case_id!r} has another time or event in "
        f"{table.places[one.line]}"
        for row in rows
        if (one := first.setdefault(row.case_id, row)).label != row.label
    ]
    if faults:
        raise TableError(table.path, faults, hint="correct these lines of the table")


def _labelled(row: LabelledSlide[Any], truth: Truth) -> LabelledSlide[Truth]:
    return LabelledSlide(row.slide_id, row.case_id, truth, row.case_is_known, row.site, row.line)


def _natural(label: str) -> tuple[bool, float, str]:
    """Return a sort key: numbers in their order (PANDA's grades), then words in theirs."""
    try:
        value = number(label)
    except ValueError:
        return True, 0.0, label
    return (False, value, label) if math.isfinite(value) else (True, 0.0, label)
