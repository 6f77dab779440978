"""Files of a model that are shared: weights and plain data, and nothing that names a patient.

Of a run these are its checkpoints and JSON. Tables of slides and patients, paths of this machine
and lists of slides that were left out stay behind; ``run.json`` says ``published``.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tcssa.artefact import MANIFEST_FILE, Artefact, is_artefact
from tcssa.compressor import LoadedCompressor, open_checkpoint, save_compressor
from tcssa.config.settings import SHARED_FILE
from tcssa.errors import UsageError
from tcssa.files.checksums import file_sha256
from tcssa.mil.bags.familiar import FAMILIAR_FILE
from tcssa.mil.evidence.reference import REFERENCE_FILE
from tcssa.mil.results.finished import FINAL_FOLDER, FinishedRun, read_finished
from tcssa.mil.results.metrics_file import METRICS_FILE
from tcssa.run import CHECKPOINT_FILE, RUN_FILE, read_run
from tcssa.vqa.settings import VQA_FILE

_NAMING_SLIDES: Mapping[str, Any] = {"unused": [], "readings": [], "skipped": {}}
"""Parts of ``run.json`` that name slides, and what stands in their place."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model, by their paths in its repository."""

    kind: Literal["run", "artefact", "compressor"]
    files: dict[str, Path | bytes]
    """Each a file of this machine, or its content."""
    source: FinishedRun | Artefact | LoadedCompressor
    """The model itself, as it was read."""

    def checksums(self) -> dict[str, str]:
        """Compute the SHA-256 of every file."""
        return {
            name: file_sha256(file) if isinstance(file, Path) else hashlib.sha256(file).hexdigest()
            for name, file in self.files.items()
        }


def model_files(model: Path) -> ModelFiles:
    """Collect the files of a run of train-mil, an artefact or a compressor.

    Args:
        model: The run directory, the artefact's folder, or a checkpoint: ours, or the reference
            implementation's, which is turned into ours.

    Raises:
        UsageError: It is an engine, which runs on one kind of GPU, or a run of train-vqa.
        FileError: The model is not finished, or a file of it is missing or damaged.
    """
    if is_artefact(model):
        return _of_artefact(model)
    if (model / VQA_FILE).is_file():
        raise UsageError(
            f"{model} is a run of train-vqa, which is not shared yet",
            hint=f"its compressor is: {model / 'compressor.safetensors'}",
        )
    if (model / RUN_FILE).is_file():
        return _of_run(model)
    return _of_compressor(model)


def _of_artefact(folder: Path) -> ModelFiles:
    artefact = Artefact.read(folder)
    if artefact.format != "onnx":
        raise UsageError(
            f"{folder} is a {artefact.format} engine, which runs on one kind of GPU",
            hint="share the run, or an artefact of --format onnx",
        )
    names = [MANIFEST_FILE]
    for file in artefact.models.values():
        names += [file.file, *file.data_files]
    return ModelFiles("artefact", {name: folder / name for name in names}, artefact)


def _of_run(folder: Path) -> ModelFiles:
    run = read_finished(folder)
    content = {**read_run(folder), **_NAMING_SLIDES, "published": True}
    if run.is_rounded:
        content["rounding"] = {**content["rounding"], "left_as_they_are": {}}
    settings = _without_folders(run.settings.model_dump())
    files: dict[str, Path | bytes] = {RUN_FILE: _as_json(content), SHARED_FILE: _as_json(settings)}
    checkpoints = sorted(folder.glob(f"fold-*/{CHECKPOINT_FILE}"))
    for path in (
        folder / METRICS_FILE,
        folder / FAMILIAR_FILE,
        folder / REFERENCE_FILE,
        folder / FINAL_FOLDER / CHECKPOINT_FILE,
        *checkpoints,
    ):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path
    return ModelFiles("run", files, run)


def _of_compressor(path: Path) -> ModelFiles:
    loaded = open_checkpoint(path)
    content: Path | bytes = loaded.path
    if loaded.path.suffix != ".safetensors":
        content = _converted(loaded)
    return ModelFiles("compressor", {CHECKPOINT_FILE: content}, loaded)


def _converted(loaded: LoadedCompressor) -> bytes:
    """Return a compressor of the reference's file, which is a pickle, as safetensors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CHECKPOINT_FILE
        save_compressor(loaded.model, path, loaded.encoder)
        return path.read_bytes()


def _without_folders(value: Any) -> Any:  # settings are nested to any depth
    """Keep of every path its last name."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, dict):
        return {name: _without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(inner) for inner in value]
    return value


def _as_json(content: Any) -> bytes:  # anything that JSON takes
    return (json.dumps(content, indent=2) + "\n").encode()
