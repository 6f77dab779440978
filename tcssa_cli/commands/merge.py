"""`tcssa merge`: encoded parts of a slide, or slides of a patient, as one file of slots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tcssa.budgets import parse_budget
from tcssa.errors import counted
from tcssa_cli.commands.encode import Device
from tcssa_cli.options import BudgetOption, DebugFlag, JsonFlag
from tcssa_cli.output import Output


def merge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files of slots that encode wrote.")
    ],
    *,
    model: Annotated[
        Path,
        typer.Option(help="Model that made them: run, checkpoint or chunked artefact."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File of slots to write.")],
    same_slide: Annotated[
        bool,
        typer.Option(
            "--same-slide",
            help="The files are parts of one slide; where its slots lie is merged too.",
        ),
    ] = False,
    budget: BudgetOption = None,
    device: Annotated[
        Device,
        typer.Option(
            help="Where the experts run. A device that was asked for and is not available is an "
            "error."
        ),
    ] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Merge encoded files: the slots are those of all patches together; no features are needed.

    Without --same-slide the files may be slides of one patient; the merged file then does not say
    where slots lie. One file and --budget give the same slide with another number of slots.

    Examples:
        tcssa merge encoded/slide_features_tcssa/A*.h5 --model run --out patient.h5
        tcssa merge part-1.h5 part-2.h5 --same-slide --model run --out slide.h5
    """
    output = Output(as_json)
    from tcssa.hub import local_model
    from tcssa_runtimes import open_runtime
    from tcssa_runtimes.archive.merge import merge_slides

    with open_runtime(local_model(model, output), device=device) as runtime:
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
            f"{counted(len(files), 'file')} merged, "
            f"{counted(merged.facts.num_patches, 'patch')}, {places} places: {out}",
            soft_wrap=True,
        ),
    )
