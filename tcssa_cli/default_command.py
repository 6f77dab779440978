"""A group of commands with one that is meant where none is named."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultCommand(TyperGroup):
    """`tcssa inspect PATH` beside `tcssa inspect slots RUN`.

    The first command that was added is taken where the first argument names no command. A file
    that is called like a command is given as ``./slots``.
    """

    # typer brings its own copy of click in some versions and not in others, hence Any
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front where none is named and no help is asked for."""
        named = bool(args) and (
            args[0] in self.commands or args[0] in self.get_help_option_names(ctx)
        )
        default = next(iter(self.commands))
        return super().parse_args(ctx, args if named else [default, *args])
