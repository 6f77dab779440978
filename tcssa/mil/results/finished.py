"""A finished run of train-mil, read back from its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tcssa.config.settings import read_resolved
from tcssa.errors import RunError
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.files.boundary import reading
from tcssa.files.text import validated
from tcssa.hub import local_model
from tcssa.mil.settings import MilSettings
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.serialization import task_of_metrics
from tcssa.run import RUN_FILE, read_run

KIND = "train-mil"
FINAL_FOLDER = "final"
"""Folder of the final model, below the run directory."""


class _Cohort(BaseModel):
    """The run's cohort; `tcssa.mil.cohort.cohort.Cohort.fingerprint` holds more."""

    model_config = ConfigDict(extra="allow")

    feature_dim: int = Field(ge=1)
    encoder: str | None


class _Run(BaseModel):
    """The content of ``run.json`` that is needed here; the file may hold more."""

    kind: Literal["train-mil"]
    complete: Literal[True]
    cohort: _Cohort
    checkpoint_sha256: str
    rounding: dict[str, Any] | None = None
    extraction: ExtractionRecord = ExtractionRecord()
    published: bool = False


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: Directory of the run.
        settings: The settings it was trained with.
        fingerprint: Fingerprint of its cohort; see `tcssa.mil.cohort.cohort.Cohort.fingerprint`.
        task: The kind of label of its cohort.
        feature_dim: D of its features.
        encoder: Encoder of its features; None if unknown.
        checkpoint_sha256: Hash of the checkpoint that was selected for the run.
        is_rounded: Whether it was trained on features rounded to float16.
        extraction: How its patches were made, as far as their files state it.
        is_published: Whether it was shared, and so does not say which patients it was trained on.
    """

    folder: Path
    settings: MilSettings
    fingerprint: dict[str, Any]
    task: MilTask
    feature_dim: int
    encoder: str | None
    checkpoint_sha256: str
    is_rounded: bool
    extraction: ExtractionRecord
    is_published: bool


def read_finished(folder: Path) -> FinishedRun:
    """Read the settings and facts of a finished run of train-mil, of this machine or of the hub.

    Raises:
        RunError: The run is not finished, is of another kind, or a file of it is damaged.
        HubError: It is not on the hub, or is not the one that was pushed.
    """
    folder = local_model(folder)
    content = read_run(folder)
    if content.get("kind") != KIND or content.get("complete") is not True:
        raise RunError(folder, "is no finished run of train-mil", hint="train it to its end first")
    path = folder / RUN_FILE
    run = validated(content, path, RunError, _Run)
    with reading(path, RunError):
        task = task_of_metrics(content["cohort"])
    return FinishedRun(
        folder,
        read_resolved(folder, MilSettings, RunError),
        content["cohort"],
        task,
        run.cohort.feature_dim,
        run.cohort.encoder,
        run.checkpoint_sha256,
        run.rounding is not None,
        run.extraction,
        run.published,
    )
