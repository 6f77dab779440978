"""Options that several commands share, and options made from settings.

A setting's default and help text are defined once, on its field. Its flag defaults to None, "not
given", so that the value can come from the environment, a file or a preset.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel, Field
from rich.markup import escape

from tcssa.config.presets import preset_names
from tcssa.config.settings import Section
from tcssa.errors import UsageError
from tcssa.files.remote_file import as_address, plain_address

TorchDevice = Literal["auto", "cpu", "cuda", "mps"]
"""Devices for torch."""
Names = Callable[[], list[str]]
"""Lists the names that the shell completes."""

DATA_PANEL = "Data"
LLM_OPTIONS = [
    "llm", "allow_hub", "trust_remote_code", "device", "endpoint", "endpoint_model",
    "endpoint_timeout",
]  # fmt: skip
"""Settings of `ask` and `chat` that say where the language model is, and how it is reached."""

DeviceOption = Annotated[
    TorchDevice,
    typer.Option(
        help="auto takes a GPU if there is one. A device that was asked for and is not available "
        "is an error."
    ),
]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Number of slots a slide becomes, for a model trained with --nested: all of them, a "
        "half, a quarter, …; auto chooses the fewest that still differ from each other. "
        r"\[default: all]",
    ),
]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def out_option(help_text: str) -> Any:
    """Return the option ``--out`` of a command that writes to this machine alone.

    Args:
        help_text: Text for ``--help``: what is written.
    """
    return typer.Option("--out", "-o", help=help_text, callback=_on_this_machine)


def _on_this_machine(out: Path | None) -> Path | None:
    """Refuse an address, which would be taken for a folder of that name."""
    if out is not None and (address := as_address(out)):
        raise UsageError(
            f"{plain_address(address)}: this command writes to a disk",
            hint="give a folder; extract, encode and predict write to object stores",
        )
    return out


OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="Folder to write, or its address in an object store, such as s3://bucket/prefix.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", help="YAML file of settings; flags and environment variables override it."
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        help=f"Preset: {', '.join(preset_names())}. tcssa presets NAME shows one.",
        rich_help_panel=DATA_PANEL,
        autocompletion=preset_names,
    ),
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        help=r"Folder of the presets' files. \[default: the variable TCSSA_DATA]",
        rich_help_panel=DATA_PANEL,
    ),
]


class CaseOptions(Section):
    """The patients of slides."""

    cases: Path | None = Field(
        default=None,
        description="Table of slide_id and case_id. [default: patients of TCGA barcodes alone]",
    )


_WIDEST_CHOICES = 20
"""Characters of choices that fit the help's narrow column at 80 columns."""


def encoder_names() -> list[str]:
    """List the encoders that have a name of their own; families such as timm:… are left out."""
    from tcssa.encoders.registry import encoder_names

    return [name for name in encoder_names() if ":" not in name]


def method_names() -> list[str]:
    """List the MIL methods."""
    from tcssa.mil.methods.registry import METHODS

    return ["tcssa", *METHODS]


def setting(
    section: type[BaseModel],
    name: str,
    *flags: str,
    panel: str | None = None,
    names: Names | None = None,
) -> Any:
    """Make the option of one settings field; typer takes its own type for it, hence Any.

    Args:
        section: The settings that hold the field.
        name: Name of the field.
        flags: Spellings of the flag, if not ``--field-name``.
        panel: Heading in the help.
        names: Lists values that the shell completes, where the type does not say them.
    """
    field = section.model_fields[name]
    help_text = field.description or ""
    choices, metavar = choices_of(field.annotation), _metavar(field.annotation)
    if len("|".join(choices)) > _WIDEST_CHOICES:
        metavar = "<choice>" if metavar is None else metavar
        if any(choice not in help_text for choice in choices):
            help_text += f" One of {', '.join(choices)}."
    default = field.get_default()
    if default is not None and default is not False and default not in ([], {}):
        help_text += f" [default: {'on' if default is True else default}]"
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)),
        help=escape(help_text),
        show_default=False,
        rich_help_panel=panel,
        metavar=metavar,
        autocompletion=names,
    )


def _metavar(annotation: Any) -> str | None:
    """Return what stands for the value of an option of a list or a tuple, or None."""
    names = {Path: "<path>", str: "<str>"}
    if get_origin(annotation) is list:
        return names.get(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return " ".join(names.get(kind, "<choice>") for kind in get_args(annotation))
    return next((found for kind in get_args(annotation) if (found := _metavar(kind))), None)


def choices_of(annotation: Any) -> list[str]:
    """List the choices of a type that is a Literal, or a Literal or None."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return next((found for kind in get_args(annotation) if (found := choices_of(kind))), [])
