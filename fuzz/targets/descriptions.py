"""Readers of files that describe runs, artefacts, encoders and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fuzz.mutations.members import mutate_member
from fuzz.mutations.text import mutate_text
from fuzz.oracles import tables as oracles
from fuzz.seeds import descriptions as seeds
from fuzz.target import Target
from tcssa.artefact import Artefact
from tcssa.config.settings import read_yaml
from tcssa.encoders.exported import ExportedEncoder
from tcssa.errors import ArtefactError, CheckpointError, RunError, UsageError
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.run import read_run, selected_checkpoint
from tcssa.vqa.model.run_file import read_vqa


def read_run_folder(folder: Path) -> Any:
    """Read ``run.json``, and find the checkpoint of a run that is finished."""
    run = read_run(folder)
    return {"run": run, "selected": str(selected_checkpoint(folder).relative_to(folder))}


def _check_run(folder: Path, found: Any) -> str | None:
    content = json.loads((folder / "run.json").read_bytes().decode("utf-8-sig"))
    if found["selected"] != f"{content['selected']}/checkpoint.safetensors":
        return "another checkpoint"
    return None if found["run"] == content else "values differ"


TARGETS = (
    Target(
        "run", "", seeds.runs, read_run_folder, (RunError, CheckpointError), mutate_member,
        _check_run, is_folder=True,
    ),
    Target(
        "artefact", "", seeds.artefacts, Artefact.read, (ArtefactError,), mutate_member,
        oracles.check_description("artefact.json"), is_folder=True,
    ),
    Target(
        "encoder", "", seeds.encoders, ExportedEncoder.read, (ArtefactError,), mutate_member,
        oracles.check_description("encoder.json"), is_folder=True,
    ),
    Target(
        "vqa-run", "", seeds.language_models, read_vqa, (RunError,), mutate_member,
        oracles.check_description("vqa.json"), is_folder=True,
    ),
    Target("metrics", "", seeds.metrics, read_metrics, (RunError,), mutate_member, is_folder=True),
    Target(
        "yaml", ".yaml", seeds.settings, read_yaml, (UsageError,), mutate_text, oracles.check_yaml,
        covered=("tcssa.files.yaml_file", "yaml"),
    ),
)  # fmt: skip
