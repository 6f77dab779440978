"""`tcssa presets`: list the named datasets, or show all that is known of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from tcssa.config.presets import MethodSettings, Preset, Statement, preset_names, read_preset
from tcssa.mil.reporting.metric_names import written
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table


def presets(
    name: Annotated[
        str | None,
        typer.Argument(help="Show all that is known of this dataset.", autocompletion=preset_names),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List the datasets of train-mil --dataset, or show one: its steps, splits and figures.

    Examples:
        tcssa presets
        tcssa presets camelyon16
    """
    output = Output(as_json)
    if name is None:
        found = {each: read_preset(each) for each in preset_names()}
        output.result(
            {"presets": {each: preset.model_dump() for each, preset in found.items()}},
            lambda console: _list(console, found),
        )
        output.hint("one of them: tcssa presets NAME")
        return
    preset = read_preset(name)
    output.result(
        {"name": name, **preset.model_dump()}, lambda console: _show(console, name, preset)
    )
    output.hint(f"next: tcssa train-mil --dataset {name} --data-root DATA --out RUN")


def _list(console: Console, found: dict[str, Preset]) -> None:
    rows = [[name, preset.title, preset.labels, _methods(preset)] for name, preset in found.items()]
    header = ["name", "dataset", "labels, below --data-root", "settings published for"]
    console.print(make_table(None, header, rows))


def _methods(preset: Preset) -> str | None:
    return ", ".join(preset.models) or None


def _show(console: Console, name: str, preset: Preset) -> None:
    console.print(f"[bold]{escape(name)}: {escape(preset.title)}[/bold]", soft_wrap=True)
    files = [f"{part}: {path}" for part, path in preset.paths.items()]
    _lines(console, "Below --data-root (or TCSSA_DATA)", files)
    steps = preset.steps or [preset.how_to_get]
    _lines(console, "How to get it", [f"{i}. {step}" for i, step in enumerate(steps, start=1)])
    _lines(console, "Splits", [preset.splits_from])
    _lines(console, "To know", preset.notes)
    for statement in preset.expected:
        _expected(console, statement)
    _lines(console, "Settings for every method", _inline(preset.settings))
    for methods, shared in _by_settings(preset):
        lines = [*_inline(shared.settings), f"From: {shared.source}"]
        _lines(console, f"Settings of --model {' or '.join(methods)}", lines)
    if preset.models:
        _lines(console, "Any other method", ["The defaults of tcssa; no published ones are known."])


def _expected(console: Console, statement: Statement) -> None:
    _lines(console, f"Stated by {statement.source}", [f"But: {statement.caveat}."])
    has_size = any(row.num_slots is not None for row in statement.figures)
    header = ["method", *(["K"] if has_size else []), written(statement.metric)]
    rows = [
        [row.method, *([row.num_slots] if has_size else []), row.text] for row in statement.figures
    ]
    console.print(Padding(make_table(None, header, rows), (0, 0, 0, 2)))


def _by_settings(preset: Preset) -> list[tuple[list[str], MethodSettings]]:
    """Group methods by their published settings; each setting is listed once."""
    found: list[tuple[list[str], MethodSettings]] = []
    for method, settings in preset.models.items():
        same = next((names for names, other in found if other == settings), None)
        if same is None:
            found.append(([method], settings))
        else:
            same.append(method)
    return found


def _inline(settings: dict[str, Any]) -> list[str]:
    """Return settings as --config takes them, one line a section."""
    return [
        yaml.safe_dump({name: section}, default_flow_style=True, width=10_000).strip()[1:-1]
        for name, section in settings.items()
    ]


def _lines(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        console.print(f"\n[bold]{escape(title)}[/bold]", soft_wrap=True)
    for line in lines:
        console.print(Padding(escape(line.strip()), (0, 0, 0, 2)))
