"""Options that several commands share, and options made from settings.

A setting's default and help text are defined once, on its field. Its flag defaults to None, "not
given", so that the value can come from the environment, a file or a preset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel
from rich.markup import escape

TorchDevice = Literal["auto", "cpu", "cuda", "mps"]
"""Devices for torch."""


SeveralSlides = Literal["error", "dx1", "first"]
"""Choices for a question about a patient who has several slides."""


JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Slots that a slide becomes, of a model trained with --nested: a half, a quarter … of "
        "all; auto: as few as keep what tells its slots apart.",
    ),
]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file of settings; flags and environment beat it."),
]


def setting(section: type[BaseModel], name: str, *flags: str, panel: str | None = None) -> Any:
    """Make the option of one settings field; typer takes its own type for it, hence Any.

    Args:
        section: The settings that hold the field.
        name: Name of the field.
        flags: Spellings of the flag, if not ``--field-name``.
        panel: Heading in the help.
    """
    field = section.model_fields[name]
    default = field.get_default()
    shown = default is not None and default is not False
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)),
        help=escape((field.description or "") + (f" [default: {default}]" if shown else "")),
        show_default=False,
        rich_help_panel=panel,
    )
