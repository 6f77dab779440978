"""The program: one app, and the handling of its errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from tcssa.compute.launcher import is_first_to_fail
from tcssa_cli.commands import ask as ask_command
from tcssa_cli.commands import (
    check_data,
    compare,
    convert,
    demo,
    doctor,
    encode,
    encoders,
    evaluate,
    export,
    extract,
    import_bags,
    inspect,
    merge,
    presets,
    verify,
)
from tcssa_cli.commands import inspect_slots as inspect_slots_command
from tcssa_cli.commands import sweep as sweep_command
from tcssa_cli.commands import train_mil as train_mil_command
from tcssa_cli.commands import train_vqa as train_vqa_command
from tcssa_cli.default_command import DefaultCommand
from tcssa_cli.errors import INTERRUPTED, WRONG_USAGE, Explanation, explain
from tcssa_cli.output import Output

# The stacked experts' gradients are blocks of tens of MB that are allocated at every step. With
# huge pages their backward pass took 14 ms on a CPU instead of 30 (D = 1024, K = 32). torch
# reads this once, when it first allocates.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

app = typer.Typer(
    name="tcssa",
    help="Whole-slide images to semantic slots: extract patch features, train slide classifiers "
    "and language models that answer questions about slides, export them, encode archives.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("extract")(extract.extract)
app.command("encoders")(encoders.encoders)
app.command("presets")(presets.presets)
app.command("train-mil")(train_mil_command.train_mil)
app.command("sweep")(sweep_command.sweep)
app.command("train-vqa")(train_vqa_command.train_vqa)
app.command("eval")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("check-data")(check_data.check_data)
app.command("ask")(ask_command.ask)
app.command("export")(export.export)
app.command("encode")(encode.encode)
app.command("merge")(merge.merge)
app.command("convert")(convert.convert)
app.command("verify")(verify.verify)
inspect_app = typer.Typer(
    cls=DefaultCommand, help="Say what a tcssa file or folder is, or look at a run's slots."
)
inspect_app.command("path")(inspect.inspect)
inspect_app.command("slots")(inspect_slots_command.inspect_slots)
app.add_typer(inspect_app, name="inspect")
app.command("import-bags")(import_bags.import_bags)
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        from tcssa_cli.versions import versions

        for name, version in versions().items():
            sys.stdout.write(f"{name} {version}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the versions of tcssa and of what it stands on.",
        ),
    ] = False,
) -> None:
    """Whole-slide images to semantic slots."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors raise only with ``--debug``."""
    try:
        app(args=list(arguments))
    except SystemExit as stop:
        # typer turns an interrupt into its own exit
        if stop.code == INTERRUPTED.exit_code:
            return _tell(INTERRUPTED, arguments)
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code == WRONG_USAGE.exit_code and "--json" in arguments:  # typer said it on stderr
            sys.stdout.write(f"{json.dumps(asdict(WRONG_USAGE))}\n")
        return code
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _tell(explain(error), arguments)
    return 0


def _tell(explanation: Explanation, arguments: Sequence[str]) -> int:
    if is_first_to_fail():
        Output("--json" in arguments).error(explanation.error, explanation.hint)
    return explanation.exit_code


def main() -> None:
    """Run the console script."""
    sys.exit(run(sys.argv[1:]))
