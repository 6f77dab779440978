"""The program: one app, and the handling of its errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from tcssa.compute.launcher import is_first_to_fail
from tcssa_cli import help as help_texts
from tcssa_cli.commands import (
    ask,
    card,
    chat,
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
    heatmap,
    import_bags,
    import_vqa,
    inspect,
    inspect_slots,
    merge,
    predict,
    presets,
    pull,
    push,
    status,
    sweep,
    train_mil,
    train_vqa,
    verify,
)
from tcssa_cli.errors import INTERRUPTED, Explanation, explain
from tcssa_cli.output import Output

# The stacked experts' gradients are blocks of tens of MB that are allocated at every step. With
# huge pages their backward pass took 14 ms on a CPU instead of 30 (D = 1024, K = 32). torch
# reads this once, when it first allocates.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Threads of torch wait for each other without spinning: beside readers, or other people's
# processes, spinning takes the cores from whoever has work (200,000 patches through the compressor
# on two busy cores: 7.4 s spinning, 1.4 s not). OpenMP reads this once too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Start here": {"demo": demo.demo, "doctor": doctor.doctor},
    "From slides to features": {
        "extract": extract.extract,
        "encoders": encoders.encoders,
        "verify": verify.verify,
        "status": status.status,
        "convert": convert.convert,
        "import-bags": import_bags.import_bags,
    },
    "Train and score": {
        "presets": presets.presets,
        "train-mil": train_mil.train_mil,
        "sweep": sweep.sweep,
        "check-data": check_data.check_data,
        "train-vqa": train_vqa.train_vqa,
        "import-vqa": import_vqa.import_vqa,
        "eval": evaluate.evaluate,
        "compare": compare.compare,
    },
    "Use a trained model": {
        "predict": predict.predict,
        "heatmap": heatmap.heatmap,
        "ask": ask.ask,
        "chat": chat.chat,
        "export": export.export,
        "encode": encode.encode,
        "merge": merge.merge,
    },
    "Share a model": {"push": push.push, "pull": pull.pull, "card": card.card},
}
_INSPECT = {"path": inspect.inspect, "slots": inspect_slots.inspect_slots}

app = typer.Typer(
    name="tcssa",
    cls=help_texts.Group,
    help="Whole-slide images to semantic slots: extract patch features, train slide classifiers "
    "and language models that answer questions about slides, export them, encode archives.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
inspect_app = typer.Typer(
    cls=help_texts.DefaultCommand,
    help="Say what a tcssa file or folder is, or show what the slots of a run hold.",
)
app.add_typer(inspect_app, name="inspect", rich_help_panel="Use a trained model")
for _panel, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        help_texts.add(app, _name, _command, _panel)
for _name, _command in _INSPECT.items():
    help_texts.add(inspect_app, _name, _command)


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
            help="Show the versions of tcssa and of the packages it needs.",
        ),
    ] = False,
) -> None:
    """Whole-slide images to semantic slots."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors raise only with ``--debug``."""
    try:
        code = app(args=list(arguments), prog_name="tcssa", standalone_mode=False)
    except typer.Abort:
        return _tell(INTERRUPTED, arguments)
    except (Exception, KeyboardInterrupt) as error:
        explanation = explain(error)
        if "--debug" in arguments and not explanation.is_of_command_line:
            raise
        return _tell(explanation, arguments)
    # typer turns an interrupt into its own exit
    return _tell(INTERRUPTED, arguments) if code == INTERRUPTED.exit_code else int(code or 0)


def _tell(explanation: Explanation, arguments: Sequence[str]) -> int:
    if explanation.error and is_first_to_fail():
        command = arguments[0] if arguments else "COMMAND"
        hint = explanation.hint and explanation.hint.replace("COMMAND", command)
        Output("--json" in arguments).error(explanation.error, hint)
    return explanation.exit_code


def main() -> None:
    """Run the console script."""
    sys.exit(run(sys.argv[1:]))
