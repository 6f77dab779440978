"""The only place that knows the terminal: results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.table import Column, Table
from rich.text import Text

from tcssa.errors import printable
from tcssa.files.forwarding import shown
from tcssa.reporter import Task

if TYPE_CHECKING:
    from tcssa.statistics.intervals import Score


class Output:
    """Prints a command's result, and reports its progress (`tcssa.reporter.Reporter`).

    Args:
        as_json: Print the result as one JSON object on stdout, and nothing else there.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.stdout = Console(file=cast(IO[str], _Shown(sys.stdout)), highlight=False)
        self.stderr = Console(file=cast(IO[str], _Shown(sys.stderr)), highlight=False)
        self.warnings: list[str] = []

    def result(self, data: dict[str, Any], show: Callable[[Console], None]) -> None:
        """Print the result once: as JSON, or as ``show`` draws it for a person.

        Args:
            data: The result for JSON; warnings are added.
            show: Prints the result on the console it is given.
        """
        if self.as_json:
            text = json.dumps({**data, "warnings": self.warnings}, default=_plain)
            sys.stdout.write(shown(text) + "\n")
        else:
            show(self.stdout)

    def hint(self, text: str) -> None:
        """Print a suggestion for what to do next."""
        self.stderr.print(f"[dim]{escape(text)}[/dim]", soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a remark."""
        self.stderr.print(escape(printable(text, keep="\n")), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print something the user should know before trusting the result, and record it."""
        self.warnings.append(text)
        shown = escape(printable(text, keep="\n"))
        self.stderr.print(f"[bold yellow]warning[/]  {shown}", soft_wrap=True)

    def error(self, message: str, hint: str | None) -> None:
        """Print why the command failed, and what to do next.

        Args:
            message: The error in one line.
            hint: What to do next, or None.
        """
        if self.as_json:
            sys.stdout.write(shown(json.dumps({"error": message, "hint": hint})) + "\n")
        self.stderr.print(f"[bold red]error[/]  {escape(message)}", soft_wrap=True)
        if hint:
            self.stderr.print(f"       {escape(hint)}", soft_wrap=True)

    @contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """Draw a progress bar with rate and remaining time; without a terminal, print one line.

        Args:
            description: What is being done.
            total: Number of units, or None if it is not known.
            unit: Name of the units, plural.

        Yields:
            The task, to advance.
        """
        if not self.stderr.is_terminal:
            self.stderr.print(f"{description}: {total if total is not None else '?'} {unit}")
        with Progress(
            SpinnerColumn(),
            _Description(table_column=Column()),
            BarColumn(bar_width=16, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeRemainingColumn(compact=True),
            console=self.stderr,
            disable=not self.stderr.is_terminal,
        ) as progress:
            yield _Bar(progress, progress.add_task(description, total=total))


class _Shown:
    """A stream that names addresses in place of the scratch folders that stand for them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(shown(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _plain(value: object) -> str:
    return shown(str(value))


class _Bar:
    """One task of a rich progress display."""

    def __init__(self, progress: Progress, task_id: TaskID) -> None:
        self._progress, self._task_id = progress, task_id

    def advance(self, amount: int = 1) -> None:
        self._progress.advance(self._task_id, amount)

    def skip(self, amount: int) -> None:
        total = self._progress.tasks[self._task_id].total
        if total is not None:
            self._progress.update(self._task_id, total=total - amount)

    def describe(self, text: str) -> None:
        self._progress.update(self._task_id, description=text)


class _Description(ProgressColumn):
    """Column of the description, which alone gives way on a narrow terminal."""

    def render(self, task: RichTask) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Rate(ProgressColumn):
    """Column of the rate, in units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        text = self._unit if speed is None else f"{self._unit}, {speed:.3g}/s"
        return Text(text, style="progress.data.speed")


def with_interval(score: Score) -> str:
    """Format a figure and its interval, as in ``0.912 (0.871 to 0.944)``."""
    if score["value"] is None:
        return "not defined"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def make_table(title: str | None, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Make a table of text; columns of numbers are aligned to the right.

    Args:
        title: Title above the table, or None.
        header: Names of the columns.
        rows: Cells of each row, as many as the header; None is shown as a dash.
    """
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(header):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(name, justify="right" if rows and numeric else "left")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def show_failures(
    console: Console, failures: Iterable[tuple[str, object, str | None]], label: str = "failed"
) -> None:
    """Print each failure as two lines: the reason, then where it happened and what to do.

    Args:
        console: The console to print on.
        failures: Reason, place and what to do, None where there is no more to say.
        label: What stands before the reason.
    """
    for reason, place, hint in failures:
        reason = escape(printable(reason.removeprefix(f"{place}: ")))
        console.print(f"[bold red]{label}[/]  {reason}", soft_wrap=True)
        advice = f": {hint}" if hint else ""
        line = f"{' ' * len(label)}  {escape(printable(f'{place}{advice}'))}"
        console.print(line, soft_wrap=True)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value), keep="\n")
