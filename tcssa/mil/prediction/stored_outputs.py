"""The outputs of a slide on the disk, by which a second call sees that nothing is to be done."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from tcssa.errors import FileError, RunError
from tcssa.features import BagRef
from tcssa.features.content import is_unchanged
from tcssa.files import atomic
from tcssa.files.text import read_model
from tcssa.mil.prediction.slide_model import Outputs

_FOLDER = "outputs"


class StoredOutputs(BaseModel):
    """The content of ``outputs/S.json``: what a model says of a slide, and what this is of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_sha256: str
    input_name: str
    input_bytes: int
    input_mtime_ns: int
    input_hash: str
    """Hash of features and coordinates; see `tcssa.features.content`."""
    num_patches: int = Field(ge=1)
    final: list[FiniteFloat] = Field(min_length=1)
    folds: list[list[FiniteFloat]]
    unlike: FiniteFloat | None = Field(ge=0, le=1)

    @property
    def outputs(self) -> Outputs:
        """The model's outputs."""
        return Outputs(self.final, self.folds, self.unlike)

    def is_of(self, bag: BagRef, model_sha256: str) -> bool:
        """Tell whether predicting a bag with a model would give the same outputs.

        Args:
            bag: The feature file.
            model_sha256: Hash of the model's files.

        Raises:
            FeatureFileError: The content cannot be read.
        """
        known = (self.input_name, self.input_bytes, self.input_mtime_ns, self.input_hash)
        return self.model_sha256 == model_sha256 and is_unchanged(bag, *known)


def write_outputs(
    out: Path,
    bag: BagRef,
    outputs: Outputs,
    *,
    stat: os.stat_result,
    model_sha256: str,
    input_hash: str,
    num_patches: int,
) -> StoredOutputs:
    """Write the outputs of a slide, atomically.

    Args:
        out: Folder of the predictions.
        bag: The slide's feature file.
        outputs: What the model says.
        stat: Size and time of the file, as of before it was read.
        model_sha256: Hash of the model's files.
        input_hash: Hash of the features and coordinates.
        num_patches: N.
    """
    stored = StoredOutputs(
        model_sha256=model_sha256,
        input_name=bag.name,
        input_bytes=stat.st_size,
        input_mtime_ns=stat.st_mtime_ns,
        input_hash=input_hash,
        num_patches=num_patches,
        final=outputs.final,
        folds=outputs.folds,
        unlike=outputs.unlike,
    )
    atomic.write_text(_path(out, bag.slide_id), stored.model_dump_json() + "\n")
    return stored


def read_outputs(out: Path, bag: BagRef, model_sha256: str) -> StoredOutputs | None:
    """Read the outputs of a slide; None if there are none of this model and this very content.

    Args:
        out: Folder of the predictions.
        bag: The slide's feature file.
        model_sha256: Hash of the model's files.
    """
    path = _path(out, bag.slide_id)
    if not path.is_file():
        return None
    try:
        stored = read_model(path, RunError, StoredOutputs)
        return stored if stored.is_of(bag, model_sha256) else None
    except (OSError, FileError):  # damaged since: it is predicted again, which tells what is wrong
        return None


def outputs_folder(out: Path) -> Path:
    """Return the folder of the slides' outputs."""
    return out / _FOLDER


def _path(out: Path, slide_id: str) -> Path:
    return outputs_folder(out) / f"{slide_id}.json"
