"""`tcssa encoders`: list the named patch encoders, or show one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tcssa.errors import UnknownNameError
from tcssa_cli.options import DebugFlag, JsonFlag, encoder_names
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.encoders.registry import EncoderFacts


def encoders(
    name: Annotated[
        str | None,
        typer.Argument(help="Show this encoder alone.", autocompletion=encoder_names),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List the patch encoders: size, resolution, licence, and whether their weights are here.

    Examples:
        tcssa encoders
        tcssa encoders uni_v2
    """
    from tcssa.encoders import list_encoders, registry

    output, found = Output(as_json), {facts.name: facts for facts in list_encoders()}
    families = [each for each in registry.encoder_names() if each not in found]
    if name is None:
        output.result(
            {"encoders": [asdict(facts) for facts in found.values()], "families": families},
            lambda console: _list(console, list(found.values()), families),
        )
        output.hint("one of them: tcssa encoders NAME")
        return
    if name not in found:
        raise UnknownNameError("encoder", name, list(found))
    facts = found[name]
    output.result(asdict(facts), lambda console: _show(console, facts))
    output.hint(f"next: tcssa extract SLIDES --encoder {name} --out JOB")


def _list(console: Console, found: Sequence[EncoderFacts], families: Sequence[str]) -> None:
    rows = [
        [
            facts.name,
            facts.feature_dim,
            _range(facts.trained_mpp),
            facts.licence,
            "here" if facts.is_here else "ask" if facts.gated else "free",
        ]
        for facts in found
    ]
    console.print(make_table(None, ["name", "D", "µm/px", "licence", "weights"], rows))
    console.print(
        "weights: here, on this machine; free, to download; ask, the owner grants access first"
    )
    console.print(f"Also: {', '.join(families)}")


def _range(resolutions: Sequence[float]) -> str | None:
    """Return the resolutions that an encoder was trained at, from the finest to the coarsest."""
    ends = dict.fromkeys((min(resolutions), max(resolutions))) if resolutions else ()
    return "–".join(f"{mpp:g}" for mpp in ends) or None


def _show(console: Console, facts: EncoderFacts) -> None:
    mpp = ", ".join(f"{mpp:g}" for mpp in facts.trained_mpp)
    access = "ask the owner for access" if facts.gated else "free to download"
    lines = {
        "features": f"D = {facts.feature_dim}: {facts.feature}",
        "patches": f"{facts.input_px} px" + (f", trained at {mpp} µm/px" if mpp else ""),
        "licence": facts.licence,
        "weights": "on this machine" if facts.is_here else f"not on this machine; {access}",
        "repository": facts.repo and f"{facts.repo} (Hugging Face)",
        "files": ", ".join(facts.files),
        "needs": facts.needs and f"pip install 'tcssa[{facts.needs}]'",
    }
    console.print(f"[bold]{escape(facts.name)}[/bold]")
    for title, text in lines.items():
        if text:
            console.print(f"  {title:<11} {escape(text)}", soft_wrap=True)
