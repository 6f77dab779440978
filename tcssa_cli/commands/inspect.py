"""`tcssa inspect`: what a file or folder of the toolkit is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from tcssa.errors import printable
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa_cli.inspection import Inspected


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="Artefact, run, checkpoint, or hf:OWNER/NAME of one; feature file, folder of "
            "features, encoded slide or archive."
        ),
    ],
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Say what a tcssa file or folder is, what it was made from, and what to do with it.

    Nothing is run or changed. An artefact's files are checked against their hashes.

    Examples:
        tcssa inspect run
        tcssa inspect artefact --json
    """
    output = Output(as_json)
    from tcssa.files.output_folder import seen_folder
    from tcssa.hub import local_model
    from tcssa_cli.inspection import inspect as look_at

    with seen_folder(local_model(path, output)) as place:
        found = look_at(place)
    output.result(
        {
            "path": path,
            "kind": found.kind,
            "facts": found.facts,
            **found.tables,
            "next": found.next,
        },
        lambda console: _show(console, found),
    )


def _show(console: Console, found: Inspected) -> None:
    console.print(
        f"[bold]{escape(printable(found.kind))}[/]  {escape(str(found.path))}", soft_wrap=True
    )
    width = max((len(name) for name in found.facts), default=0)
    for name, value in found.facts.items():
        shown = escape(f"{printable(name):<{width}}  {_text(value)}")
        console.print(f"  {shown}", soft_wrap=True)
    for title, rows in found.tables.items():
        if rows:
            header = list(dict.fromkeys(name for row in rows for name in row))
            cells = [[row.get(name) for name in header] for row in rows]
            console.print(make_table(title, header, cells))
    if found.next:
        console.print(f"next: {escape(printable(found.next))}", soft_wrap=True)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return printable(", ".join(str(item) for item in value))
    if isinstance(value, dict):
        return printable(", ".join(f"{name}: {item}" for name, item in value.items()))
    return printable(str(value).replace("\n", "\\n"))
