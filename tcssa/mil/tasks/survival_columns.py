"""The columns of time and event in the tables of the field, and which way round they are.

A column whose name says that patients are censored holds 1 where there was no event; it is turned
round whoever names it. Where several columns may be the event they must say the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tcssa.errors import TableError
from tcssa.features.class_names import MissingLabelError, missing
from tcssa.features.slide_table import LabelColumn, SlideTable, named_column
from tcssa.features.tables import find_column
from tcssa.files.table import is_missing, number, plain_name
from tcssa.mil.settings import CohortSettings

_TIME_COLUMNS = (
    "time", "survival_time", "survival_months", "survival_days", "os_time", "OS.time", "os_months",
    "os_days", "os_survival_months", "os_survival_days", "overall_survival_months",
    "overall_survival_days",
)  # fmt: skip
_OTHER_TIME = re.compile(r"(?i).*(survival|^os|dss|pfi|pfs|dfi|dfs|rfs).*(time|days|months|years)")
_DEATH_COLUMNS = ("days_to_death",)
_SEEN_COLUMNS = ("days_to_last_follow_up", "days_to_last_followup", "days_to_last_known_alive")
_EVENT_COLUMNS = ("event", "os_event", "status", "os_status", "vital_status")
_CENSORED = re.compile(r"(?i)censor|(?<![a-z])cens(?![a-z])")
_NOT_CENSORED = re.compile(r"(?i)(un|not|non|no)[^a-z]?censor")
_ENDPOINT = re.compile(r"(?i)(os|dss|pfi|pfs|dfi|dfs|rfs|overall)(?![a-z])")
_ENDPOINTS_ALIKE = {"overall": "os"}
_HAPPENED, _NOT_HAPPENED = {"dead", "deceased", "died", "event", "uncensored"}, {
    "alive", "living", "censored",
}  # fmt: skip
_YES, _NO = {"1", "true", "yes"}, {"0", "false", "no"}
_CBIOPORTAL = re.compile(r"([01]):.+")
_UNKNOWN = ("unknown", "not reported")
_HINT = (
    "name them with --time-column and --event-column (1: it happened) or --censorship-column (1: "
    "censored) if they have other names"
)


@dataclass(frozen=True)
class SurvivalColumns:
    """The columns of a label, and how their cells are read."""

    columns: list[str]
    read: Callable[[Sequence[str]], tuple[float, float]]
    event: str
    """What the event is read from, as ``1 − censorship``."""
    readings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Event:
    """A column of the event, and whether it says 1 where there was none."""

    column: str
    is_inverted: bool

    @property
    def said(self) -> str:
        return f"1 − {self.column}" if self.is_inverted else self.column

    def read(self, cell: str) -> bool:
        """Tell whether the event happened.

        Raises:
            MissingLabelError: The cell does not say it.
            ValueError: The cell says something else.
        """
        plain = cell.strip().lower().removesuffix(".0")
        if is_missing(cell) or plain in _UNKNOWN:
            raise MissingLabelError(missing("event", cell))
        if plain in _HAPPENED | _NOT_HAPPENED:  # words mean the same in every column
            return plain in _HAPPENED
        if not self.is_inverted and (found := _CBIOPORTAL.fullmatch(plain)):
            plain = found[1]
        if plain not in _YES | _NO:
            meaning = "1 (censored) nor 0 (it happened)"
            if not self.is_inverted:
                meaning = "1 (it happened) nor 0 (censored)"
            raise ValueError(f"event {cell!r} is neither {meaning}")
        return (plain in _YES) is not self.is_inverted


def survival_columns(data: CohortSettings, table: SlideTable) -> SurvivalColumns:
    """Find the columns of time and event.

    Args:
        data: Names them, if they have unusual names.
        table: The table.

    Raises:
        TableError: A column is missing, or several may be meant and differ.
    """
    times = _times(data, table)
    event, also = _event(data, table, times[0] if times else None)
    columns = [LabelColumn("event", (event.column, *also) if event else _EVENT_COLUMNS)]
    if not times and event is not None:
        dead = find_column(table.columns, _DEATH_COLUMNS)
        seen = find_column(table.columns, _SEEN_COLUMNS)
        if dead and seen:
            columns += [LabelColumn(dead, (dead,)), LabelColumn(seen, (seen,))]
            found = table.require(columns, _HINT)
            reading = f"time = {dead} where the event happened, {seen} where it did not"
            return SurvivalColumns(found, _reader_of_two(event, dead, seen), event.said, [reading])
    columns.append(LabelColumn("time", times or _TIME_COLUMNS))
    found = table.require(columns[::-1], _HINT)
    assert event is not None  # `require` raised
    return SurvivalColumns(found, _reader(event), event.said)


def _times(data: CohortSettings, table: SlideTable) -> list[str]:
    """Return the columns that may be the time, the one to take first."""
    named = named_column(table.path, table.columns, data.time_column, ())
    if named:
        return [named]
    usual = [find_column(table.columns, [name]) for name in _TIME_COLUMNS]
    found = list(dict.fromkeys(column for column in usual if column))
    if found:
        return found
    others = [column for column in table.columns if _OTHER_TIME.fullmatch(column)]
    if len(others) > 1:
        raise TableError(
            table.path,
            f"several columns may be the time: {', '.join(others)}",
            hint="name the one you mean with --time-column",
        )
    return others


def _event(
    data: CohortSettings, table: SlideTable, time: str | None
) -> tuple[_Event | None, list[str]]:
    """Return the column of the event, and the others that say the same; None if there is none."""
    for named, is_censorship in ((data.event_column, False), (data.censorship_column, True)):
        if named:
            column = named_column(table.path, table.columns, named, ())
            assert column is not None  # or it raised
            return _Event(column, is_censorship or _says_censored(column)), []
    usual = {plain_name(name): place for place, name in enumerate(_EVENT_COLUMNS)}
    endpoint = _endpoint(time or "")
    candidates = [
        _Event(column, _says_censored(column))
        for column in table.columns
        if plain_name(column) in usual or _CENSORED.search(column) or _is_bare(column, time)
    ]
    candidates.sort(key=lambda each: usual.get(plain_name(each.column), len(usual)))
    own = [each for each in candidates if endpoint and _endpoint(each.column) == endpoint]
    plain = [each for each in candidates if _endpoint(each.column) is None]
    found = own or plain or ([] if endpoint else candidates)
    return _agreeing(found, table)


def _agreeing(found: Sequence[_Event], table: SlideTable) -> tuple[_Event | None, list[str]]:
    """Return the first of several columns, which must say the same as the others.

    Raises:
        TableError: Two of them contradict each other, so that either may be the event.
    """
    readable = [each for each in found if _is_read(each, table)] or list(found[:1])
    if not readable:
        return None, []
    first, *others = readable
    for other in others:
        for line, row in table.rows.items():
            one, two = (_read_or_none(each, row[each.column]) for each in (first, other))
            if one is not two and one is not None and two is not None:
                raise TableError(
                    table.path,
                    f"{first.column} and {other.column} may both be the event, and differ in "
                    f"{table.places[line]}",
                    hint=f"name the one you mean: --event-column {first.column!r}",
                )
    return first, [other.column for other in others]


def _is_read(event: _Event, table: SlideTable) -> bool:
    try:
        for cell in table.cells(event.column):
            _read_or_none(event, cell)
    except ValueError:
        return False
    return True


def _read_or_none(event: _Event, cell: str) -> bool | None:
    try:
        return event.read(cell)
    except MissingLabelError:
        return None


def _says_censored(column: str) -> bool:
    return bool(_CENSORED.search(column)) and not _NOT_CENSORED.search(column)


def _endpoint(column: str) -> str | None:
    """Return the endpoint that a column's name begins with: os, dss, pfi and so on."""
    found = _ENDPOINT.match(column)
    return None if found is None else _ENDPOINTS_ALIKE.get(found[1].lower(), found[1].lower())


def _is_bare(column: str, time: str | None) -> bool:
    """Tell whether a column is the event of a time as Xena names them: ``OS`` of ``OS.time``."""
    return time is not None and time.lower() in (f"{column}.time".lower(), f"{column}_time".lower())


def _reader(event: _Event) -> Callable[[Sequence[str]], tuple[float, float]]:
    def read(cells: Sequence[str]) -> tuple[float, float]:
        time, happened = cells
        return _time(time), float(event.read(happened))

    return read


def _reader_of_two(
    event: _Event, dead: str, seen: str
) -> Callable[[Sequence[str]], tuple[float, float]]:
    """Return a reader of tables with one time for the dead and another for the living."""

    def read(cells: Sequence[str]) -> tuple[float, float]:
        happened, *times = cells
        is_dead = event.read(happened)
        if not is_dead and not is_missing(times[0]):
            raise ValueError(f"{event.column} is {happened!r}, and {dead} is {times[0]}")
        return _time(times[0] if is_dead else times[1], dead if is_dead else seen), float(is_dead)

    return read


def _time(cell: str, name: str = "time") -> float:
    if is_missing(cell) or cell.lower() in _UNKNOWN:
        raise MissingLabelError(missing(name, cell))
    try:
        time = number(cell)
    except ValueError as fault:
        raise ValueError(f"{name} {fault}") from None
    if not math.isfinite(time) or time < 0:
        raise ValueError(f"{name} {cell} is no time since the start, which is 0 or more")
    return time
