"""A group of commands with a default command, run where none is named."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultCommand(TyperGroup):
    """A group that knows `tcssa inspect PATH` beside `tcssa inspect slots RUN`.

    The command that was added first is run where the first argument does not name a command. A file
    whose name is that of a command is given as ``./slots``.
    """

    # typer brings its own copy of click in some versions and not in others, hence Any
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`.

        The default command is put in front where none is named and no help is asked for.
        """
        named = bool(args) and (
            args[0] in self.commands or args[0] in self.get_help_option_names(ctx)
        )
        default = next(iter(self.commands))
        return super().parse_args(ctx, args if named else [default, *args])
