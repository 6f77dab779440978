"""The run directory: the unit a user holds.

It keeps the resolved settings, checkpoints, metrics and plots, and what they were made from.
``run.json`` says what the folder is; a run without ``complete: true`` was cut short.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tcssa.errors import CheckpointError, RunError, UsageError
from tcssa.files import atomic
from tcssa.files.boundary import reading
from tcssa.files.names import FileName
from tcssa.files.text import read_json, validated
from tcssa.version import __version__

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
CHECKPOINT_FILE = "checkpoint.safetensors"
COMPRESSOR_FILE = "compressor.safetensors"
"""Of a run of train-vqa whose language model sees slots."""
PREDICTION_FILE, HEATMAPS_FILE = "prediction.json", "heatmaps.csv"
ONE_FOLDER_HINT = "--out must be one folder that all processes see"
SHOWN_WITHIN_S = 90.0
"""Longest delay before a network disk shows a file that another machine wrote, in seconds."""


_WRITTEN = {
    RUN_FILE: "is a run",
    "artefact.json": "is an artefact",
    PREDICTION_FILE: "holds what tcssa predict wrote",
    HEATMAPS_FILE: "holds what tcssa heatmap wrote",
}
"""Folders of commands, by the file that each is known by."""
_JOB = "holds a job of tcssa extract or encode"
_JOBS = {"job.json": _JOB, "*/features_*/job.json": _JOB}
_FEATURES = "holds features of slides"


class _Selected(BaseModel):
    """The part of ``run.json`` that says where the checkpoint is."""

    selected: FileName


def write_run(folder: Path, content: dict[str, Any]) -> None:
    """Write ``run.json``, stamped with the schema and the toolkit's version.

    Args:
        folder: The run directory.
        content: The facts of the run, JSON-able.
    """
    stamped = {"schema_version": SCHEMA_VERSION, "tcssa_version": __version__, **content}
    atomic.write_text(folder / RUN_FILE, json.dumps(stamped, indent=2) + "\n")


def require_own_folder(folder: Path, own: str) -> None:
    """Refuse a folder that another command has written, whose files would be overwritten.

    Args:
        folder: The folder to write.
        own: Name of the file by which the command knows its own folders.

    Raises:
        UsageError: It is a run, an artefact, or the output of another command.
    """
    jobs = {} if (folder / own).exists() else _JOBS  # one that is ours is gone on with
    for name, what in {**_WRITTEN, **jobs}.items():
        if name != own and any(folder.glob(name)):
            raise UsageError(f"{folder} {what}", hint="give another --out")


def shows_run(folder: Path) -> bool:
    """Tell whether a run that another process has just begun is seen here.

    A network disk is slow: the answer is no only after `SHOWN_WITHIN_S`.
    """
    deadline = time.monotonic() + SHOWN_WITHIN_S
    while not (is_there := (folder / RUN_FILE).exists()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return is_there


def read_run(folder: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises:
        RunError: The folder is no run directory, its ``run.json`` is damaged, or it is of another
            version of the schema.
    """
    path = folder / RUN_FILE
    with reading(folder, RunError):
        is_there = path.exists()
    if not is_there:
        raise _no_run(folder)
    content: dict[str, Any] = read_json(path, RunError, top=dict)
    if content.get("schema_version") != SCHEMA_VERSION:
        found = content.get("schema_version")
        raise RunError(
            folder,
            f"has schema version {found}, this tcssa reads {SCHEMA_VERSION}",
            hint="use the tcssa version that made it",
        )
    return content


def _no_run(folder: Path) -> RunError:
    """Return the error of what is no run; it says what the folder is, where its files tell."""
    known = {
        **_WRITTEN,
        CHECKPOINT_FILE: "is one model of a run",
        "sweep.csv": "holds the runs of a sweep",
        "slide_features_tcssa": "holds slides that tcssa encode encoded",
        "features_*": _FEATURES,
        "*/features_*": _FEATURES,
        "*.h5": _FEATURES,
        "*.pt": _FEATURES,
    }
    reason = f"is no run directory (no {RUN_FILE})"
    found = next((what for name, what in known.items() if any(folder.glob(name))), None)
    if found is None:
        return RunError(folder, reason, hint="make one: tcssa train-mil")
    run = folder.parent if (folder.parent / RUN_FILE).exists() else None
    hint = f"give the run: {run}" if run else "give the folder that tcssa train-mil wrote"
    return RunError(folder, f"{reason}: it {found}", hint=hint)


def selected_checkpoint(folder: Path) -> Path:
    """Find the checkpoint that a folder stands for: a fold's own, or a run's selected one.

    A cross-validated run selects the fold with the best validation loss; test results play no part
    in it.

    Raises:
        RunError: The run is not finished, is one of train-vqa, or does not say which fold it stands
            for.
        CheckpointError: The selected fold has no checkpoint.
    """
    if (folder / CHECKPOINT_FILE).is_file():
        return folder / CHECKPOINT_FILE
    run = read_run(folder)
    if not run.get("complete"):
        raise RunError(folder, "is not finished", hint="give the same train command again")
    if run.get("kind") == "train-vqa":
        own = folder / COMPRESSOR_FILE
        raise RunError(
            folder,
            "is a run of train-vqa, and no compressor or classifier",
            hint=f"give its compressor: {own}"
            if own.is_file()
            else "its visual encoder makes no slots: give a run of --visual tcssa, or of train-mil",
        )
    selected = validated(run, folder / RUN_FILE, RunError, _Selected).selected
    checkpoint = folder / selected / CHECKPOINT_FILE
    if not checkpoint.is_file():
        raise CheckpointError(checkpoint, "there is no such file")
    return checkpoint
