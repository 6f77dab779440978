"""`tcssa import-bags`: make a cohort from a classic multiple-instance table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tcssa.errors import counted
from tcssa_cli.options import DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output


def import_bags(
    table: Annotated[
        Path, typer.Argument(help="CSV or CSV.gz without a header: label, bag, then the features.")
    ],
    out: Annotated[Path, out_option("Folder of the cohort to write.")],
    standardise: Annotated[
        bool,
        typer.Option(
            "--standardise",
            help="Scale each feature to mean 0 and standard deviation 1 over all instances.",
        ),
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make a cohort from a table of instances, such as MUSK1 or UCSB.

    Examples:
        tcssa import-bags musk1.csv.gz --out musk1 --standardise
    """
    output = Output(as_json)
    from tcssa.features.import_bags import import_bags as import_table

    made = import_table(table, out, standardise=standardise)
    line = (
        f"{counted(made.num_bags, 'bag')}, {counted(made.num_instances, 'instance')}, "
        f"D = {made.feature_dim}: "
        f"{made.features} and {made.labels}"
    )
    output.result(asdict(made), lambda console: console.print(line, soft_wrap=True))
    output.hint(
        f"next: tcssa train-mil --labels {made.labels} --features {made.features} --out RUN"
    )
