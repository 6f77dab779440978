"""`tcssa ask`: a question about one slide."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tcssa.errors import UsageError, printable
from tcssa_cli.options import DebugFlag, JsonFlag, TorchDevice
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.vqa.explain.slide_session import Answer

_MOST_ROWS = 10


def ask(
    run: Annotated[Path, typer.Argument(help="Run directory of train-vqa.")],
    question: Annotated[str, typer.Argument(help="What to ask, in plain words.")],
    features: Annotated[
        Path | None, typer.Option(help="The slide's patch features, one file.")
    ] = None,
    slide: Annotated[
        Path | None,
        typer.Option(help="The slide itself; its features are extracted with the run's encoder."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An answer to choose from; repeat it. Without any, text is generated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for answer.json and a picture of the slots."),
    ] = None,
    explain: Annotated[
        bool, typer.Option(help="Blank every slot in turn, to see which the answer rests on.")
    ] = True,
    slide_mpp: Annotated[
        float | None, typer.Option(help="Level-0 resolution of --slide, if it states none.")
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Slots that the slide becomes, of a compressor trained with --nested; as many as "
            "in training if not given.",
        ),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Where a generated answer is cut at the latest.")
    ] = 128,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts read at a time.")] = 16,
    llm: Annotated[
        str | None,
        typer.Option(help="Where the language model lies, if not where it was trained from."),
    ] = None,
    allow_hub: Annotated[
        bool, typer.Option("--allow-hub", help="Let the language model be downloaded.")
    ] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run code that comes with the language model; only if you trust it.",
        ),
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Of --slide: the run's encoder, where it is python:… or hf:…; a run's word alone "
            "is no reason to load it."
        ),
    ] = None,
    device: Annotated[
        TorchDevice,
        typer.Option(help="An unavailable device is an error; there is no silent CPU fallback."),
    ] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Ask a question about one slide, and see which slots the answer rests on.

    With --option the answer is the option whose letter is likeliest; without, it is written.
    """
    output = Output(as_json)
    if (features is None) == (slide is None):
        raise UsageError(
            "a slide is asked about: give its --features, or the --slide itself",
            hint="one of the two",
        )
    from tcssa.vqa.explain.ask import answer_question

    answer, picture = answer_question(
        run,
        question,
        option or [],
        output,
        features=features,
        slide=slide,
        slide_mpp=slide_mpp,
        budget=budget,
        explain=explain,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        llm=llm,
        allow_hub=allow_hub,
        trust_remote_code=trust_remote_code,
        encoder=encoder,
        device=device,
        out=out,
    )
    output.result(
        {**asdict(answer), "picture": picture},
        lambda console: _show(console, answer, picture),
    )


def _show(console: Console, answer: Answer, picture: Path | None) -> None:
    text = printable(answer.text or "(nothing was written)", keep="\n\t")
    console.print(escape(text), soft_wrap=True, style="bold")
    if answer.probabilities is not None:
        rows = [
            [f"{chr(ord('A') + i)}. {text}", probability]
            for i, (text, probability) in enumerate(
                zip(answer.options, answer.probabilities, strict=True)
            )
        ]
        console.print(make_table(None, ["option", "probability"], rows))
        console.print(f"share of all next tokens that the letters have: {answer.option_mass:.3g}")
    if answer.slots:
        cells = [
            [
                slot.slot,
                f"{slot.effect:+.4f}",
                None if slot.mass is None else f"{slot.mass:.2f}",
                slot.num_patches,
                None if slot.center is None else "{:.0f}, {:.0f}".format(*slot.center),
            ]
            for slot in answer.slots[:_MOST_ROWS]
        ]
        title = f"What the answer rests on: {len(cells)} of {len(answer.slots)} visual tokens"
        header = ["slot", "effect, nats", "mass", "patches", "centre (x, y)"]
        console.print(make_table(title, header, cells))
        console.print("effect: how much the answer's log-likelihood falls when the slot is blanked")
    if picture is not None:
        console.print(f"picture: {picture}", soft_wrap=True)
