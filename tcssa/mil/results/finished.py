"""A finished run of train-mil, read back from its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tcssa.config.settings import read_resolved
from tcssa.errors import RunError
from tcssa.files.boundary import reading
from tcssa.files.text import validated
from tcssa.mil.settings import MilSettings
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.serialization import task_of_metrics
from tcssa.run import RUN_FILE, read_run

KIND = "train-mil"


class _Cohort(BaseModel):
    """What it was trained on; `tcssa.mil.cohort.cohort.Cohort.fingerprint` holds more."""

    model_config = ConfigDict(extra="allow")

    feature_dim: int = Field(ge=1)
    encoder: str | None


class _Run(BaseModel):
    """What ``run.json`` says; more may stand there."""

    kind: Literal["train-mil"]
    complete: Literal[True]
    cohort: _Cohort
    checkpoint_sha256: str
    rounding: dict[str, Any] | None = None


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: Its directory.
        settings: Those that were in force.
        fingerprint: Of its cohort.
        task: Of its cohort.
        feature_dim: D of its features.
        encoder: Of its features; None if nobody noted it.
        checkpoint_sha256: Of the checkpoint that it stands for.
        is_rounded: Whether it was trained on features rounded to float16.
    """

    folder: Path
    settings: MilSettings
    fingerprint: dict[str, Any]
    task: MilTask
    feature_dim: int
    encoder: str | None
    checkpoint_sha256: str
    is_rounded: bool


def read_finished(folder: Path) -> FinishedRun:
    """Read what a run of train-mil says of itself.

    Raises:
        RunError: It is not finished, is a run of another kind, or a file of it is damaged.
    """
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
    )
