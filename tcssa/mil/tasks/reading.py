"""Reader of a label table: the task, and the labels of its slides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tcssa.errors import TableError, UsageError
from tcssa.features import LabelledSlide, read_labels
from tcssa.features.tables import ClassNames, LabelColumn, find_column, read_slides
from tcssa.files.table import number, read_table
from tcssa.mil.settings import CohortSettings
from tcssa.mil.tasks.base import MilTask
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.multitask import Several
from tcssa.mil.tasks.ordinal import Ordinal
from tcssa.mil.tasks.prediction import Truth
from tcssa.mil.tasks.survival import Survival

Rows = list[LabelledSlide[Truth]]

_UNKNOWN = ("", "na", "n/a", "nan")
_TIME_COLUMNS = (
    "time",
    "survival_time",
    "survival_months",
    "survival_days",
    "os_time",
    "os_months",
)
_EVENT_COLUMNS = ("event", "os_event", "status", "os_status", "vital_status")
_CENSORED_COLUMNS = ("censorship", "censored")
"""Columns of MCAT's tables and similar ones, where 1 means that there was no event."""
_HAPPENED = {"1", "true", "yes", "dead", "deceased", "1:deceased"}
_NOT_HAPPENED = {"0", "false", "no", "alive", "living", "0:living"}
_KINDS: dict[str, type[Classes]] = {"classes": Classes, "ordinal": Ordinal}


def read_task(data: CohortSettings, known: MilTask | None = None) -> tuple[MilTask, Rows]:
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
    if data.kind == Survival.kind:
        return _read_survival(data, data.labels, known)
    if data.targets:
        return _read_several(data, data.labels, known)
    return _read_classes(data, data.labels, known)


def _read_classes(data: CohortSettings, path: Path, known: MilTask | None) -> tuple[Classes, Rows]:
    stated = list(known.classes) if isinstance(known, Classes) else data.classes
    rows = read_labels(
        path,
        label_column=data.label_column,
        case_column=data.case_column,
        classes=stated,
        label_names=data.label_names,
    )
    task = _task(data, path, [row.label for row in rows], known)
    return task, [_labelled(row, (float(task.classes.index(row.label)),)) for row in rows]


def _task(
    data: CohortSettings, path: Path, labels: Sequence[str], known: MilTask | None, of: str = ""
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
    if data.kind == Ordinal.kind and not data.classes and any(_natural(name)[0] for name in found):
        raise TableError(
            path,
            [f"{of}the order of these grades is not known: {', '.join(found)}"],
            hint="name them from the lowest to the highest: --class LOW --class HIGH",
        )
    return _KINDS[data.kind](tuple(classes))


def _read_several(data: CohortSettings, path: Path, known: MilTask | None) -> tuple[Several, Rows]:
    if data.label_column:
        raise UsageError("--target names the columns of labels: leave --label-column out")
    if len(set(data.targets)) < len(data.targets):
        raise UsageError("give each --target once")
    of_run = dict(known.tasks) if isinstance(known, Several) else {}
    readers = [
        ClassNames(of_run[name].classes if name in of_run else data.classes, data.label_names)
        for name in data.targets
    ]

    def read(cells: Sequence[str]) -> tuple[str | None, ...]:
        return tuple(
            None if cell.lower() in _UNKNOWN else _named(name, reader, cell)
            for name, reader, cell in zip(data.targets, readers, cells, strict=True)
        )

    rows = read_slides(
        path,
        [LabelColumn(name, (name,)) for name in data.targets],
        read,
        case_column=data.case_column,
        hint="--target takes names of columns",
    )
    if all(label is None for row in rows for label in row.label):
        raise TableError(path, [f"no slide has a known label of {', '.join(data.targets)}"])
    tasks = {
        name: _task(
            data,
            path,
            [label for row in rows if (label := row.label[index]) is not None],
            of_run.get(name),
            of=f"target {name}: ",
        )
        for index, name in enumerate(data.targets)
    }
    labelled = []
    for row in rows:
        truth = tuple(
            None if label is None else float(task.classes.index(label))
            for label, task in zip(row.label, tasks.values(), strict=True)
        )
        labelled.append(_labelled(row, truth))
    return Several(tasks), labelled


def _named(target: str, reader: ClassNames, cell: str) -> str:
    """Return the class in a target's cell; an error names the target."""
    try:
        return reader(cell)
    except ValueError as fault:
        raise ValueError(f"target {target}: {fault}") from None


def _read_survival(
    data: CohortSettings, path: Path, known: MilTask | None
) -> tuple[Survival, Rows]:
    flags = {"--target": data.targets, "--class": data.classes, "--label-column": data.label_column}
    given = [flag for flag, value in flags.items() if value]
    if given:
        raise UsageError(
            f"{given[0]} has no meaning with --kind survival",
            hint="its columns are time and event: --time-column, --event-column",
        )
    table = read_table(path)
    of_event: Sequence[str] = (data.event_column,) if data.event_column else _EVENT_COLUMNS
    inverted = (
        data.event_column is None
        and find_column(table.columns, of_event) is None
        and find_column(table.columns, _CENSORED_COLUMNS) is not None
    )
    if inverted:
        of_event = _CENSORED_COLUMNS
    rows = read_slides(
        path,
        [
            LabelColumn("time", (data.time_column,) if data.time_column else _TIME_COLUMNS),
            LabelColumn("event", of_event),
        ],
        _reader_of_survival(inverted),
        case_column=data.case_column,
        hint="name them with --time-column and --event-column if they have other names",
        table=table,
    )
    _require_one_time_a_patient(path, rows)
    if known is None and not any(event for _, event in (row.label for row in rows)):
        raise TableError(
            path,
            [f"no slide of {len(rows)} has an event: all are censored"],
            hint="there is nothing to learn; look at the column of the event",
        )
    task = Survival(num_spans=data.time_spans)
    return task, [_labelled(row, row.label) for row in rows]


def _reader_of_survival(inverted: bool) -> Callable[[Sequence[str]], tuple[float, float]]:
    def read(cells: Sequence[str]) -> tuple[float, float]:
        time, event = cells
        for name, cell in (("time", time), ("event", event)):
            if cell.lower() in _UNKNOWN:
                raise ValueError(f"the {name} is empty")
        return _time(time), float(_event(event) is not inverted)

    return read


def _time(cell: str) -> float:
    try:
        time = number(cell)
    except ValueError as fault:
        raise ValueError(f"time {fault}") from None
    if not math.isfinite(time) or time < 0:
        raise ValueError(f"time {cell} is no time since the start, which is 0 or more")
    return time


def _event(cell: str) -> bool:
    plain = cell.lower().removesuffix(".0")
    if plain not in _HAPPENED | _NOT_HAPPENED:
        raise ValueError(f"event {cell!r} is neither 1 (it happened) nor 0 (censored)")
    return plain in _HAPPENED


def _require_one_time_a_patient(
    path: Path, rows: Sequence[LabelledSlide[tuple[float, float]]]
) -> None:
    """Require that all slides of a patient share one time and event.

    Raises:
        TableError: Two slides of a patient differ; the lines are named.
    """
    first: dict[str, LabelledSlide[tuple[float, float]]] = {}
    faults = [
        f"line {row.line}: patient {row.case_id!r} has another time or event in line {one.line}"
        for row in rows
        if (one := first.setdefault(row.case_id, row)).label != row.label
    ]
    if faults:
        raise TableError(path, faults, hint="correct these lines of the table")


def _labelled(row: LabelledSlide[Any], truth: Truth) -> LabelledSlide[Truth]:
    return LabelledSlide(row.slide_id, row.case_id, truth, row.case_is_known, row.site, row.line)


def _natural(label: str) -> tuple[bool, float, str]:
    """Return a sort key: numbers in their order (PANDA's grades), then words in theirs."""
    try:
        value = number(label)
    except ValueError:
        return True, 0.0, label
    return (False, value, label) if math.isfinite(value) else (True, 0.0, label)
