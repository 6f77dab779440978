"""The help of commands: made from a docstring, whose ``Examples:`` stand at the end.

typer keeps the line breaks of a docstring and shows a flag without a value as ``<bool>``; both are
mended here, once for all commands.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

_EXAMPLES = "Examples:"


class Command(TyperCommand):
    """A command whose flags without a value show none in the help."""

    # typer brings its own copy of click in some versions and not in others, hence Any
    def get_params(self, ctx: Any) -> list[Any]:
        """See `click.Command.get_params`."""
        return _without_values(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands, whose flags without a value show none in the help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `click.Command.get_params`."""
        return _without_values(super().get_params(ctx))


class DefaultCommand(Group):
    """A group that knows `tcssa inspect PATH` beside `tcssa inspect slots RUN`.

    The command that was added first is run where the first argument does not name a command. A file
    whose name is that of a command is given as ``./slots``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`.

        The default command is put in front where none is named and no help is asked for.
        """
        named = bool(args) and (
            args[0] in self.commands or args[0] in self.get_help_option_names(ctx)
        )
        default = next(iter(self.commands))
        return super().parse_args(ctx, args if named else [default, *args])


def add(
    app: typer.Typer, name: str, command: Callable[..., None], panel: str | None = None
) -> None:
    """Add a command, with its docstring as help and the docstring's examples below the options.

    Args:
        app: The app to add to.
        name: Name of the command.
        command: The function, whose docstring may end with ``Examples:`` and a command a line.
        panel: Heading in the list of commands.
    """
    text, _, _ = inspect.getdoc(command).partition(_EXAMPLES)  # type: ignore[union-attr]
    app.command(
        name,
        cls=Command,
        help="\n\n".join(escape(" ".join(part.split())) for part in text.strip().split("\n\n")),
        epilog="\n\n".join(escape(line) for line in [_EXAMPLES, *examples(command)]),
        rich_help_panel=panel,
    )(command)


def examples(command: Callable[..., None]) -> list[str]:
    """Return the examples in a command's docstring, a command line each."""
    _, _, lines = (inspect.getdoc(command) or "").partition(_EXAMPLES)
    return [line.strip() for line in lines.splitlines() if line.strip()]


def _without_values(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params
