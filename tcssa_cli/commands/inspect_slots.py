"""`tcssa inspect slots`: what the slots of a trained run hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from tcssa_cli.options import DebugFlag, JsonFlag, TorchDevice
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.mil.slots import SlotInspection


Plane = Literal["tsne", "umap"]
"""Methods that project patches into the plane; UMAP needs the package umap-learn."""


def inspect_slots(
    run: Annotated[Path, typer.Argument(help="Finished run of train-mil, of a tcssa model.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for tables, pictures and slots.html.")
    ],
    features: Annotated[
        Path | None, typer.Option(help="The run's features, if they were moved.")
    ] = None,
    slides: Annotated[
        Path | None,
        typer.Option(help="Folder of the slides: for crops of patches, and to draw maps on."),
    ] = None,
    slide: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Draw a map of this test slide; repeat it for more. "
            "[default: the first of each class and fold]",
            show_default=False,
        ),
    ] = None,
    all_maps: Annotated[bool, typer.Option("--all-maps", help="Draw maps of all slides.")] = False,
    patch_labels: Annotated[
        Path | None,
        typer.Option(
            help="What patches show: a table slide_id, label, and patch (row from 0) or x, y; or a "
            "folder of S.geojson, areas with classifications as QuPath exports them."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another run of the same cohort, such as of another seed, to match."),
    ] = None,
    embedding: Annotated[
        Plane, typer.Option(help="Picture of the patches; umap needs umap-learn.")
    ] = "tsne",
    seed: Annotated[int, typer.Option(help="Of the sample of patches and its picture.")] = 0,
    device: Annotated[
        TorchDevice,
        typer.Option(help="An unavailable device is an error; there is no silent CPU fallback."),
    ] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Look at the slots of a run: use, likeness, labels, ablation, maps, example patches.

    Every fold's test slides are seen with the fold's own model; nothing is averaged over folds.
    """
    output = Output(as_json)
    from tcssa.mil.slots import inspect_slots as look_at

    found = look_at(
        run,
        out,
        output,
        features=features,
        slides=slides,
        slide_ids=slide or (),
        all_maps=all_maps,
        patch_labels=patch_labels,
        against=against,
        embedding=embedding,
        seed=seed,
        device=device,
    )
    output.result(_plain(found), lambda console: _show(console, found))


def _plain(found: SlotInspection) -> dict[str, Any]:
    return {
        "run": found.run,
        "folder": found.folder,
        "page": found.page,
        "maps": found.maps,
        "sheets": found.sheets,
        "agreement": found.agreement,
        "folds": _rows(found),
    }


def _rows(found: SlotInspection) -> list[dict[str, Any]]:
    from tcssa.mil.slots.plots import FDR

    meaning = {each.fold: each for each in found.meaning}
    return [
        {
            "fold": use.fold,
            "test_slides": use.num_slides,
            "effective_slots": round(use.effective_slots, 2),
            "largest_share": round(use.largest_share, 4),
            "dead_slots": use.dead,
            "first_weight": round(use.first_weight, 4),
            "associated_slots": [row.slot for row in fold.slots if row.q_value < FDR],
            **({"information": meaning[use.fold].information} if meaning else {}),
        }
        for use, fold in zip(found.use, found.association, strict=True)
    ]


def _show(console: Console, found: SlotInspection) -> None:
    rows = _rows(found)
    cells = [[_text(value) for value in row.values()] for row in rows]
    header = [name.replace("_", " ") for name in rows[0]]
    console.print(make_table(f"slots of {found.run.name}, on test slides", header, cells))
    if found.agreement is not None:
        console.print(
            f"{len(found.stability)} pairs of models agree on {found.agreement:.0%} of patches, "
            "their slots matched one to one"
        )
    console.print(f"tables, pictures and page: {found.page}", soft_wrap=True)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
