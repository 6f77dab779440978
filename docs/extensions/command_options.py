"""A page of a command ends with every option of it, as ``tcssa COMMAND --help`` has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from sphinx.application import Sphinx

from tcssa_cli.main import app as tcssa

PLAIN = "Arguments and options"
"""Heading of what stands in no panel."""
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def setup(app: Sphinx) -> None:
    """Complete the pages as they are read."""
    pages = dict(_commands(typer.main.get_command(tcssa), "tcssa"))
    app.connect("source-read", lambda _, page, text: _complete(text, pages.get(page)))


def _commands(group: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the page of every command, and the lines that it ends with."""
    for each, command in group.commands.items():
        full = f"{name} {each}"
        if hasattr(command, "commands"):
            default, *others = command.commands.items()
            yield each, _lines(full, default[1])
            for other, inner in others:
                yield f"{each}-{other}", _lines(f"{full} {other}", inner)
        else:
            yield each, _lines(full, command)


def _lines(name: str, command: Any) -> list[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = ["## All options", "```text", usage, "```", _plain(command.help)]
    panels: dict[str, list[tuple[str, str]]] = {PLAIN: []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            panels.setdefault(parameter.rich_help_panel or PLAIN, []).append(record)
    for panel, records in panels.items():
        lines += [f"### {panel}", *(_entry(*record) for record in records)]
    return lines


def _entry(option: str, help_text: str) -> str:
    return f"`{option}`\n: {_plain(help_text)}"


def _plain(text: str) -> str:
    """Turn the text of a terminal into Markdown: nothing in it is markup; options are code."""
    text = text.replace("\\[", "[")
    for sign in "\\`*_<>[]$#":
        text = text.replace(sign, f"\\{sign}")
    return _OPTION.sub(r"`\g<0>`", text)


def _complete(text: list[str], lines: Mapping[str, Any] | list[str] | None) -> None:
    if lines:
        text[0] += "\n\n" + "\n\n".join(lines) + "\n"
