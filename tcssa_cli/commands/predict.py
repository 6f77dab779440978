"""`tcssa predict`: slides without labels, through a trained run or an exported classifier."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field
from rich.console import Console

from tcssa.config.settings import Section
from tcssa.errors import counted
from tcssa_cli.options import DebugFlag, DeviceOption, JsonFlag
from tcssa_cli.output import Output, make_table, show_failures
from tcssa_cli.settings_flags import Flags, given, with_flags

if TYPE_CHECKING:
    from tcssa.mil.prediction.predict import Predicted
    from tcssa.mil.prediction.predicted_rows import PredictedRow
    from tcssa.mil.prediction.slide_model import SlideModel

_MOST_ROWS = 40


class RunOptions(Section):
    """Options for runs of train-mil."""

    model: str | None = Field(
        default=None,
        description="MODULE:FACTORY of a run of your own method, as given in training. Code that "
        "only the run names is not imported.",
    )


_GROUPS = (Flags(RunOptions, at="run", panel="Runs of train-mil"),)


@with_flags(*_GROUPS)
def predict(
    flags: dict[str, Any],
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|ARTEFACT",
            help="Run directory of train-mil, or artefact of export --what classifier.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FEATURES",
            help="Feature files of any layout that is read, or folders of them.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    by: Annotated[
        Literal["slide", "case"],
        typer.Option(help="case: also write one row a patient, the mean of the slides' logits."),
    ] = "slide",
    cases: Annotated[
        Path | None,
        typer.Option(
            help="Table of slide_id and case_id. [default: patients are taken from TCGA barcodes]"
        ),
    ] = None,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Predict slides again that are done already.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Predict slides that have no labels, with a trained classifier.

    Slides that this model has predicted from the same features are not predicted again. A slide
    that cannot be predicted is named at the end; the others are predicted.

    Examples:
        tcssa predict run job --out predicted
        tcssa predict run job --out predicted --by case --cases patients.csv
    """
    output = Output(as_json)
    from tcssa.features import find_bags
    from tcssa.mil.prediction.given_slides import read_cases
    from tcssa.mil.prediction.predict import predict as predict_slides

    found = predict_slides(
        _open_run(model, given(RunOptions, flags["run"]), output, device),
        find_bags([Path(place) for place in inputs]),
        out,
        output,
        cases=None if cases is None else read_cases(cases),
        with_cases=by == "case",
        overwrite=overwrite,
    )
    output.result(_data(found), lambda console: _show(console, found))
    if found.failed:
        raise typer.Exit(1)


def _open_run(run: Path, options: RunOptions, output: Output, device: str) -> SlideModel:
    from tcssa.mil.prediction.run_model import RunModel
    from tcssa.mil.results.finished import read_finished

    return RunModel(read_finished(run), output, device=device, model=options.model)


def _data(found: Predicted) -> dict[str, Any]:
    rows = {"slides": found.slides, **({} if found.cases is None else {"cases": found.cases})}
    header = found.columns.header
    named = {
        name: [
            {"name": row.name, "case_id": row.case_id}
            | dict(zip(header, found.columns.cells(row), strict=True))
            for row in of_kind
        ]
        for name, of_kind in rows.items()
    }
    failed = [asdict(slide) for slide in found.failed]
    done = {"num_done_before": found.num_done_before, "failed": failed}
    return {"folder": found.folder, **found.facts(), **done, **named}


def _show(console: Console, found: Predicted) -> None:
    rows = found.slides if found.cases is None else found.cases
    if rows:
        what = "slide" if found.cases is None else "patient"
        header = [what, *found.columns.header]
        cells = [_cells(row, found) for row in rows[:_MOST_ROWS]]
        console.print(make_table(None, header, cells))
    if len(rows) > _MOST_ROWS:
        console.print(f"and {len(rows) - _MOST_ROWS} more, in the table")
    show_failures(console, [(each.reason, each.path, each.hint) for each in found.failed])
    console.print(
        f"{counted(len(found.slides), 'slide')} predicted by {found.model.name} "
        f"({found.num_done_before} done before), {len(found.failed)} failed: {found.folder}",
        soft_wrap=True,
    )


def _cells(row: PredictedRow, found: Predicted) -> list[object]:
    columns = found.columns
    numbers = list(columns.values(row.outputs.final))
    decided = [*columns.decided(row), *columns.agreement(row)]
    return [row.name, *numbers, *decided, row.num_patches, row.outputs.unlike]
