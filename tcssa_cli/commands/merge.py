"""`tcssa merge`: encoded parts of a slide, or slides of a patient, as one file of slots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tcssa.budgets import parse_budget
from tcssa_cli.commands.encode import Device
from tcssa_cli.options import BudgetOption, DebugFlag, JsonFlag
from tcssa_cli.output import Output


def merge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files of slots that encode wrote.")
    ],
    *,
    model: Annotated[
        Path, typer.Option(help="What encoded them: a run, a checkpoint, or a chunked artefact.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File of slots to write.")],
    same_slide: Annotated[
        bool,
        typer.Option(
            "--same-slide",
            help="The files are parts of one slide: where its slots lie is merged too.",
        ),
    ] = False,
    budget: BudgetOption = None,
    device: Annotated[
        Device, typer.Option(help="Where the experts run; never another one in its place.")
    ] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Add up encoded files: their slots are those of all patches together, features not needed.

    Without --same-slide the files may be slides of one patient; the merged file has no places then.
    One file and --budget give another number of slots of the same slide.
    """
    output = Output(as_json)
    from tcssa_runtimes import open_runtime
    from tcssa_runtimes.archive.merge import merge_slides

    with open_runtime(model, device=device) as runtime:
        runtime.set_budget(parse_budget(budget))
        merged = merge_slides(files, out, runtime, same_slide=same_slide)
    result = {
        "file": out,
        "files": files,
        "num_patches": merged.facts.num_patches,
        "has_places": merged.positions is not None,
    }
    places = "with" if merged.positions is not None else "without"
    output.result(
        result,
        lambda console: console.print(
            f"{len(files)} files merged, {merged.facts.num_patches:,} patches, {places} places: "
            f"{out}",
            soft_wrap=True,
        ),
    )
