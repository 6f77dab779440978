"""The outputs of a slide on the disk, by which a second call sees that nothing is to be done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from tcssa.errors import FileError, RunError
from tcssa.features import BagRef
from tcssa.features.content import is_unchanged
from tcssa.files import atomic
from tcssa.files.text import read_model
from tcssa.mil.prediction.slide_model import GivenSlide, Outputs

_FOLDER = "outputs"


class StoredInput(BaseModel):
    """A feature file that outputs are of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    num_bytes: int
    mtime_ns: int
    content: str
    """Hash of features and coordinates; see `tcssa.features.content`."""

    @classmethod
    def of(cls, bag: BagRef, stat: os.stat_result, content: str) -> Self:
        """Describe a feature file.

        Args:
            bag: The file.
            stat: Its size and time, as of before it was read.
            content: Hash of its features and coordinates.
        """
        size, time = stat.st_size, stat.st_mtime_ns
        return cls(name=bag.name, num_bytes=size, mtime_ns=time, content=content)

    def is_of(self, bag: BagRef) -> bool:
        """Tell whether a file is the same; see `is_unchanged`.

        Raises:
            FeatureFileError: The content cannot be read.
        """
        return is_unchanged(bag, self.name, self.num_bytes, self.mtime_ns, self.content)


class StoredOutputs(BaseModel):
    """The content of ``outputs/S.json``: what a model says of a slide, and what this is of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_sha256: str
    inputs: list[StoredInput]
    """The slide's feature file, or those of a patient's slides."""
    num_patches: int = Field(ge=1)
    final: list[FiniteFloat] = Field(min_length=1)
    folds: list[list[FiniteFloat]]
    unlike: FiniteFloat | None = Field(ge=0, le=1)

    @property
    def outputs(self) -> Outputs:
        """The model's outputs."""
        return Outputs(self.final, self.folds, self.unlike)

    def is_of(self, bags: Sequence[BagRef], model_sha256: str) -> bool:
        """Tell whether predicting feature files with a model would give the same outputs.

        Args:
            bags: The files.
            model_sha256: Hash of the model's files.

        Raises:
            FeatureFileError: The content of one cannot be read.
        """
        if self.model_sha256 != model_sha256 or len(self.inputs) != len(bags):
            return False
        return all(each.is_of(bag) for each, bag in zip(self.inputs, bags, strict=True))


def write_outputs(
    out: Path,
    slide_id: str,
    outputs: Outputs,
    *,
    inputs: list[StoredInput],
    model_sha256: str,
    num_patches: int,
) -> StoredOutputs:
    """Write the outputs of a slide, or of a patient, atomically.

    Args:
        out: Folder of the predictions.
        slide_id: The slide, or the patient.
        outputs: What the model says.
        inputs: The feature files that it was told.
        model_sha256: Hash of the model's files.
        num_patches: N.
    """
    stored = StoredOutputs(
        model_sha256=model_sha256,
        inputs=inputs,
        num_patches=num_patches,
        final=outputs.final,
        folds=outputs.folds,
        unlike=outputs.unlike,
    )
    atomic.write_text(_path(out, slide_id), stored.model_dump_json() + "\n")
    return stored


def read_outputs(out: Path, given: GivenSlide, model_sha256: str) -> StoredOutputs | None:
    """Read the outputs of a slide; None if there are none of this model and this very content.

    Args:
        out: Folder of the predictions.
        given: The slide, or the patient.
        model_sha256: Hash of the model's files.
    """
    path = _path(out, given.slide.slide_id)
    if not path.is_file():
        return None
    try:
        stored = read_model(path, RunError, StoredOutputs)
        return stored if stored.is_of(given.refs, model_sha256) else None
    except (OSError, FileError):  # damaged since: it is predicted again, which tells what is wrong
        return None


def outputs_folder(out: Path) -> Path:
    """Return the folder of the slides' outputs."""
    return out / _FOLDER


def _path(out: Path, slide_id: str) -> Path:
    return outputs_folder(out) / f"{slide_id}.json"
