"""``vqa.json``: what a slide language model is, with the hashes of all its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tcssa.errors import RunError
from tcssa.files.checksums import file_sha256
from tcssa.files.names import InnerPath
from tcssa.files.text import read_json, validated
from tcssa.reporter import Reporter
from tcssa.run import COMPRESSOR_FILE
from tcssa.vqa.model.adapter import ADAPTER_FILES
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.prompts.template import ChatTemplate
from tcssa.vqa.settings import VQA_FILE, QuantizeKind, SeveralSlides

SCHEMA_VERSION = 1
VISUAL_FILE = "visual.safetensors"
PROJECTOR_FILE = "projector.safetensors"
ADAPTER_FOLDER = "adapter"
TOKENIZER_FOLDER = "tokenizer"
HERE = "."
"""The id of a language model that lies in the folder itself."""


class BaseModelFacts(BaseModel):
    """The language model that a run belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str
    """Its name or path; ``.`` where it lies in the folder itself."""
    sha256: str
    """SHA-256 of its weights, see `LoadedLLM`."""
    dtype: Literal["float32", "float16", "bfloat16"]
    """Type of its weights in training."""
    trust_remote_code: bool
    quantize: QuantizeKind | None = None
    """Number format that its linear weights are held in; left out of the file where it is none."""


class VqaRun(BaseModel):
    """The content of ``vqa.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: int
    tcssa_version: str
    stage: Literal[1, 2]
    encoder: str | None
    """Encoder of the features it was trained on; None where it was not noted."""
    num_visual_tokens: int | None = Field(ge=1)
    """Tokens that every slide becomes; None where it depends on the slide."""
    feature_dim: int = Field(ge=1)
    """Length D of the features."""
    visual: VisualConfig
    template: ChatTemplate
    image_token: str
    system: str | None
    llm: BaseModelFacts
    several: SeveralSlides = "error"
    """What several slides of a row became in training; left out of the file where rows had one."""
    files: dict[InnerPath, str]
    """SHA-256 of each other file, by its path in the folder."""


def trained_several(folder: Path) -> SeveralSlides:
    """Return what several slides of a row became in a run's training, before it is loaded.

    Args:
        folder: The run directory, or a merged folder.

    Raises:
        RunError: Its ``vqa.json`` cannot be read.
    """
    path = folder / VQA_FILE
    content: dict[str, Any] = read_json(path, RunError, top=dict) if path.exists() else {}
    return validated(content, path, RunError, _Told).several


def settle_several(
    asked: SeveralSlides | None,
    run: Path,
    reporter: Reporter,
    among: Sequence[SeveralSlides] | None = None,
) -> SeveralSlides:
    """Return what several slides become: what is asked for, else what they became in training.

    Args:
        asked: What is asked for; None takes the run's.
        run: The run directory, or a merged folder.
        reporter: Told what of the run is taken, or that another is asked for.
        among: What of the run can be taken, all of it by default; else several slides are refused.

    Raises:
        RunError: Its ``vqa.json`` cannot be read.
    """
    trained = trained_several(run)
    if trained == "error" or (among is not None and trained not in among):
        return asked or "error"
    if asked is None:
        reporter.note(f"--several {trained}, as the run was trained")
        return trained
    if asked != trained:
        reporter.note(f"--several {asked}; the run was trained with {trained}")
    return asked


class _Told(BaseModel):
    several: SeveralSlides = "error"


def read_vqa(folder: Path) -> VqaRun:
    """Read ``vqa.json`` and check that every file it names is the one that was saved.

    Raises:
        RunError: The folder is no finished run, or a file is missing or has changed.
    """
    path = folder / VQA_FILE
    if not path.exists():
        raise RunError(
            folder,
            f"is no finished run of train-vqa (no {VQA_FILE})",
            hint="train one, or give the train command again to finish it",
        )
    content: dict[str, Any] = read_json(path, RunError, top=dict)
    found = content.get("schema_version")
    if found != SCHEMA_VERSION:
        raise RunError(
            path,
            f"has schema version {found}, this tcssa reads {SCHEMA_VERSION}",
            hint="use the tcssa version that made it",
        )
    settings = validated(content, path, RunError, VqaRun)
    for name in _required(settings):
        if name not in settings.files:
            raise RunError(path, f"lists no {name}, which this run must have")
    for name, sha256 in settings.files.items():
        if not (folder / name).is_file():
            raise RunError(
                folder / name, "the run lacks this file", hint="copy the run again, whole"
            )
        if file_sha256(folder / name) != sha256:
            raise RunError(
                folder / name,
                "is not the file that was saved with the run (another SHA-256)",
                hint="copy the run again, whole",
            )
    return settings


def _required(settings: VqaRun) -> list[str]:
    """List the files that a run cannot be without."""
    names = [PROJECTOR_FILE]
    own = {"tcssa": COMPRESSOR_FILE, "abmil": VISUAL_FILE, "topm": VISUAL_FILE}
    names += [own[settings.visual.kind]] if settings.visual.kind in own else []
    if settings.stage == 2 and settings.llm.id != HERE:
        names += [f"{ADAPTER_FOLDER}/{name}" for name in ADAPTER_FILES]
    return names
