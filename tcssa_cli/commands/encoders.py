"""`tcssa encoders`: list the named patch encoders."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console

from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table


def encoders(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """List the patch encoders: size, resolution, licence, and where their weights are."""
    from tcssa.encoders import list_encoders
    from tcssa.encoders.registry import encoder_names

    output = Output(as_json)
    found = list_encoders()
    named = {facts.name for facts in found}
    families = [name for name in encoder_names() if name not in named]

    def show(console: Console) -> None:
        header = ["name", "D", "px", "µm/px", "licence", "access", "needs", "weights", "from"]
        rows = [
            [
                facts.name,
                facts.feature_dim,
                facts.input_px,
                ", ".join(f"{mpp:g}" for mpp in facts.trained_mpp) or None,
                facts.licence,
                "ask for it" if facts.gated else "free",
                facts.needs,
                "here" if facts.is_here else "not here",
                facts.repo,
            ]
            for facts in found
        ]
        console.print(make_table(None, header, rows))
        console.print(f"Also: {', '.join(families)}", soft_wrap=True)

    output.result({"encoders": [asdict(facts) for facts in found], "families": families}, show)
    output.hint("weights that are not here: docs/encoders.md, or --weights FILE")
