"""`tcssa chat`: a conversation about one slide."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from tcssa.errors import printable
from tcssa.vqa.explain.chat_settings import ChatSettings
from tcssa_cli.options import LLM_OPTIONS, DebugFlag, JsonFlag
from tcssa_cli.output import Output
from tcssa_cli.settings_flags import Flags, given, with_flags

if TYPE_CHECKING:
    from tcssa.vqa.explain.slide_session import Answer

_MOST_SLOTS = 3


@with_flags(
    Flags(ChatSettings, panel="Slide", names=["slide_mpp", "encoder", "budget"]),
    Flags(
        ChatSettings,
        panel="Answers",
        names=[
            "system", "prompt", "temperature", "top_p", "seed", "max_new_tokens", "explain",
            "batch_size",
        ],
    ),
    Flags(ChatSettings, panel="Language model", names=LLM_OPTIONS),
)  # fmt: skip
def chat(
    run: Annotated[Path, typer.Argument(help="Run directory of train-vqa.")],
    slide: Annotated[
        Path,
        typer.Argument(
            help="The slide's patch features, or its file, whose features are extracted with the "
            "run's encoder."
        ),
    ],
    flags: dict[str, Any],
    html: Annotated[
        Path | None,
        typer.Option(help="Page that keeps the conversation, with a map for each answer."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Talk about one slide, and see after each answer which slots it rests on.

    What you type is a turn; an empty line or Ctrl-D ends the conversation. Turns can be piped in,
    one a line.

    Examples:
        tcssa chat vqa-run S.h5
        tcssa chat vqa-run S.svs --temperature 0.7 --top-p 0.9 --html chat.html
    """
    output = Output(as_json)
    settings = given(ChatSettings, flags)
    from tcssa.vqa.explain.chat import chat as talk

    def write(piece: str) -> None:
        if not as_json:
            sys.stdout.write(printable(piece, keep="\n\t"))
            sys.stdout.flush()

    def told(answer: Answer) -> None:
        if not as_json:
            _show_slots(output, answer)

    answers = talk(run, slide, _typed(output), output, settings, write=write, told=told, html=html)
    if as_json:
        output.result({"answers": [asdict(answer) for answer in answers]}, lambda _: None)
    if html is not None and answers:
        output.note(f"conversation: {html}")


def _typed(output: Output) -> Iterator[str]:
    """Yield what the user types, line by line, to an empty line or the end."""
    asks = sys.stdin.isatty() and not output.as_json
    if asks:
        output.hint("ask about the slide; an empty line or Ctrl-D ends the conversation")
    while True:
        try:
            line = input("\nyou> " if asks else "")
        except EOFError:
            if asks:
                output.stderr.print()  # the line that Ctrl-D left open
            return
        if not line.strip():
            return
        yield line


def _show_slots(output: Output, answer: Answer) -> None:
    """End the line of an answer, and name the slots of the largest effect."""
    if not answer.text:
        output.stdout.print("(nothing was written)", end="")
    output.stdout.print()
    if answer.slots:
        slots = [
            f"{slot.slot} ({slot.effect:+.3f}"
            + ("" if slot.num_patches is None else f", {slot.num_patches} patches")
            + ("" if slot.center is None else " around {:.0f}, {:.0f}".format(*slot.center))
            + ")"
            for slot in answer.slots[:_MOST_SLOTS]
        ]
        shown = escape(f"rests on slots {'; '.join(slots)}")
        output.stdout.print(f"[dim]{shown}[/dim]", soft_wrap=True)
