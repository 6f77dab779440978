"""`tcssa ask`: a question about one slide, or about several at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from tcssa.errors import UsageError, printable
from tcssa.vqa.explain.ask_settings import AskSettings
from tcssa_cli.options import LLM_OPTIONS, DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output, make_table
from tcssa_cli.settings_flags import Flags, given, with_flags

if TYPE_CHECKING:
    from tcssa.vqa.explain.slide_session import Answer

_MOST_ROWS = 10

_FeaturesOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="The slide's patch features, one file; repeat it for several slides, with --several.",
        rich_help_panel="Slide",
    ),
]
_SlideOption = Annotated[
    Path | None,
    typer.Option(
        help="The slide's file; its features are extracted with the run's encoder.",
        rich_help_panel="Slide",
    ),
]
_TokensOption = Annotated[
    Path | None,
    typer.Option(
        help="The slide's file of slots, which encode wrote with an exported projector; no "
        "features are needed.",
        rich_help_panel="Slide",
    ),
]


@with_flags(
    Flags(AskSettings, panel="Slide", names=["several", "slide_mpp", "encoder", "budget"]),
    Flags(AskSettings, panel="Answer", names=["prompt", "explain", "max_new_tokens", "batch_size"]),
    Flags(AskSettings, panel="Language model", names=LLM_OPTIONS),
)
def ask(
    run: Annotated[Path, typer.Argument(help="Run directory of train-vqa.")],
    question: Annotated[str, typer.Argument(help="The question, in quotation marks.")],
    flags: dict[str, Any],
    features: _FeaturesOption = None,
    slide: _SlideOption = None,
    tokens: _TokensOption = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="An answer to choose from; repeat it. Without options, an answer is generated.",
            rich_help_panel="Answer",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        out_option("Folder for answer.json and a picture of the slots."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Ask a question about a slide, or several, and see which slots the answer depends on.

    With --option, the answer is the option whose letter is most likely; without, it is generated.

    Examples:
        tcssa ask vqa-run "Is there tumour?" --features S.h5 --option yes --option no
        tcssa ask vqa-run "What is seen?" --slide S.svs --out answer
        tcssa ask vqa-run "What?" --features A.h5 --features B.h5 --several merge
        tcssa ask merged "What?" --features S.h5 --endpoint http://gpu:8000
    """
    output = Output(as_json)
    places = {"features": features, "slide": slide, "tokens": tokens}
    settings = given(AskSettings, flags)
    _require_one_slide(places, settings)
    from tcssa.vqa.explain.ask import answer_question

    answer, picture = answer_question(
        run, question, option or [], output, settings,
        features=features, slide=slide, tokens=tokens, out=out,
    )  # fmt: skip
    output.result(
        {**asdict(answer), "picture": picture},
        lambda console: _show(console, answer, picture),
    )


def _require_one_slide(places: Mapping[str, Any], settings: AskSettings) -> None:
    if sum(bool(place) for place in places.values()) != 1:
        raise UsageError(
            "one slide is needed: its --features, the --slide itself, or its --tokens",
            hint="give one of these",
        )
    if not places["features"] and settings.several is not None:
        raise UsageError("--several is for slides that are given as --features")
    if places["slide"] is None and (settings.slide_mpp, settings.encoder) != (None, None):
        raise UsageError("--slide-mpp and --encoder are for a --slide that is extracted here")
    if places["tokens"] is not None and settings.budget is not None:
        raise UsageError("--budget is for slots that are made here", hint="encode with --budget")


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
        slides = {slot.slide for slot in answer.slots}
        cells = [
            [
                slot.slot if len(slides) == 1 else f"{slot.slot} ({slot.slide})",
                f"{slot.effect:+.4f}",
                None if slot.mass is None else f"{slot.mass:.2f}",
                slot.num_patches,
                None if slot.center is None else "{:.0f}, {:.0f}".format(*slot.center),
            ]
            for slot in answer.slots[:_MOST_ROWS]
        ]
        title = f"What the answer depends on: {len(cells)} of {len(answer.slots)} visual tokens"
        header = ["slot", "effect, nats", "mass", "patches", "centre (x, y)"]
        console.print(make_table(title, header, cells))
        console.print("effect: how much the answer's log-likelihood falls when the slot is blanked")
    if picture is not None:
        console.print(f"picture: {picture}", soft_wrap=True)
