"""`tcssa inspect slots`: what the slots of a trained run hold."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field
from rich.console import Console

from tcssa.config.settings import Section
from tcssa_cli.options import DebugFlag, DeviceOption, JsonFlag, out_option
from tcssa_cli.output import Output, make_table
from tcssa_cli.settings_flags import Flags, given, with_flags

if TYPE_CHECKING:
    from tcssa.mil.slots import SlotInspection


class SlotOptions(Section):
    """Options for what is looked at, and drawn."""

    features: Path | None = Field(
        default=None,
        description="The run's features, if they were moved; or features of any other slides, "
        "which the run's final model then sees.",
    )
    slides: Path | None = Field(
        default=None, description="Folder of the slides, to show patches and to draw maps on."
    )
    slide_ids: list[str] = Field(
        default=[],
        description="Name of a slide to draw a map of; repeat it for more. [default: the "
        "first of each class and fold]",
    )
    all_maps: bool = Field(default=False, description="Draw maps of all slides.")
    patch_labels: Path | None = Field(
        default=None,
        description="What patches show: a table with slide_id, label, and patch (row from 0) or x, "
        "y; or a folder of S.geojson, areas with classifications as QuPath exports them.",
    )
    against: Path | None = Field(
        default=None,
        description="Another run of the same cohort, such as one with another seed, to match slots "
        "with.",
    )
    embedding: Literal["tsne", "umap"] = Field(
        default="tsne",
        description="Method for the picture of the patches; umap needs the package umap-learn.",
    )
    seed: int = Field(
        default=0, ge=0, description="Seed of the sample of patches and of their picture."
    )


@with_flags(Flags(SlotOptions, spelled={"slide_ids": "--slide"}))
def inspect_slots(
    run: Annotated[Path, typer.Argument(help="Finished run of train-mil with the model tcssa.")],
    out: Annotated[Path, out_option("Folder for tables, pictures and slots.html.")],
    flags: dict[str, Any],
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Show what the slots of a run hold: use, similarity, labels, ablation, maps, example patches.

    The test slides of every fold are seen with that fold's model; nothing is averaged over folds.
    Any other slides, by --features, are seen with the run's final model.

    Examples:
        tcssa inspect slots run --out slots
        tcssa inspect slots run --slides slides/ --slide S1 --out slots
        tcssa inspect slots run --features new-job --slides new-slides/ --out slots
    """
    output, options = Output(as_json), given(SlotOptions, flags).model_dump()
    from tcssa.mil.slots import inspect_slots as look_at

    found = look_at(run, out, output, device=device, **options)
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
            "fold": use.fold if found.has_labels else "final",
            ("test_slides" if found.has_labels else "slides"): use.num_slides,
            "effective_slots": round(use.effective_slots, 2),
            "largest_share": round(use.largest_share, 4),
            "dead_slots": use.dead,
            "first_weight": round(use.first_weight, 4),
            **(
                {"associated_slots": [row.slot for row in fold.slots if row.q_value < FDR]}
                if fold
                else {}
            ),
            **({"information": meaning[use.fold].information} if meaning else {}),
        }
        for use, fold in zip_longest(found.use, found.association)
    ]


def _show(console: Console, found: SlotInspection) -> None:
    rows = _rows(found)
    cells = [[_text(value) for value in row.values()] for row in rows]
    header = [name.replace("_", " ") for name in rows[0]]
    console.print(
        make_table(
            f"slots of {found.run.name}, on {'test' if found.has_labels else 'other'} slides",
            header,
            cells,
        )
    )
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
