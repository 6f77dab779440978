"""`tcssa eval` of a slide classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console

from tcssa.config.settings import Section
from tcssa.errors import UsageError
from tcssa_cli.commands.metrics import show_metrics
from tcssa_cli.output import Output
from tcssa_cli.settings_flags import given


class CohortOptions(Section):
    """The cohort to score a run on, and what is allowed of it."""

    labels: Path | None = Field(
        default=None,
        description="Label table of a new cohort (CSV, TSV or XLSX). [default: the test slides]",
    )
    allow_overlap: bool = Field(
        default=False,
        description="Score a cohort even if it shares patients with the training cohort.",
    )
    label_column: str | None = Field(
        default=None, description="Column of the label. [default: as in training]"
    )
    case_column: str | None = Field(
        default=None, description="Column of the patient. [default: as in training]"
    )
    slide_column: str | None = Field(
        default=None, description="Column of the slide. [default: as in training]"
    )
    slide_table: Path | None = Field(
        default=None, description="Table of each patient's slides, where labels are of patients."
    )
    skip_missing: bool = Field(
        default=False,
        description="Leave out slides without features, patches or a label that the run knows, and "
        "name them.",
    )
    model: str | None = Field(
        default=None,
        description="MODULE:FACTORY of a run of your own method, as given in training. Code that "
        "only the run names is not imported.",
    )


def evaluate_mil(
    output: Output,
    run: Path,
    *,
    cohort: Mapping[str, Any],
    features: list[Path],
    out: Path | None,
    device: str,
) -> None:
    """Score a run of train-mil.

    Args:
        output: Receives progress and the result.
        run: The run directory.
        cohort: Flags of `CohortOptions`.
        features: Folder of a new cohort's features.
        out: Folder to write; one in the run if None.
        device: Device to predict on.

    Raises:
        UsageError: Several folders of features are given.
    """
    if len(features) > 1:
        raise UsageError(
            f"a cohort has one folder of features, and --features names {len(features)}"
        )
    from tcssa.mil.evaluation.evaluate import evaluate
    from tcssa.mil.training.report import REPORT_FILE

    options = given(CohortOptions, cohort).model_dump()
    done = evaluate(
        run, output, features=next(iter(features), None), out=out, device=device, **options
    )

    def show(console: Console) -> None:
        show_metrics(console, done.metrics["pooled"], done.task)
        console.print(f"predictions, metrics and {REPORT_FILE}: {done.folder}", soft_wrap=True)

    output.result({"folder": str(done.folder), **done.metrics}, show)
