"""The description of an exported encoder: ``encoder.json`` beside its graph or engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tcssa.errors import ArtefactError
from tcssa.files import atomic
from tcssa.files.names import FileName
from tcssa.files.text import read_model

FILE = "encoder.json"
Positive = Annotated[float, Field(gt=0)]


class EncoderParity(BaseModel):
    """One comparison of the exported graph with torch."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    patches: str
    batch: int
    relative: float
    """Largest difference, relative to the largest entry of torch's features."""


class ExportedEncoder(BaseModel):
    """An exported encoder, as its folder describes it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["encoder"] = "encoder"
    format: Literal["onnx", "tensorrt", "tensorrt-rtx"]
    file: FileName
    sha256: str
    data_files: dict[FileName, str]
    """SHA-256 by name of the files of weights that exceed the 2 GiB of a graph's own file."""
    name: str
    weights_hash: str
    """Hash of the original encoder's weights: features of both may be mixed."""
    feature_dim: int = Field(ge=1)
    input_px: int = Field(ge=1)
    mean: tuple[float, ...] = Field(min_length=3, max_length=3)
    std: tuple[Positive, ...] = Field(min_length=3, max_length=3)
    """Deviation of each channel; the normalisation is part of the graph."""
    trained_mpp: tuple[Positive, ...]
    max_batch: int | None = Field(ge=1)
    tolerance: float
    parity: list[EncoderParity]
    not_run: str | None
    """What the comparison does not cover."""
    tools: dict[str, str]
    build: dict[str, int | str]

    def write(self, folder: Path) -> None:
        """Write the description into the folder."""
        atomic.write_text(folder / FILE, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> ExportedEncoder:
        """Read the description of a folder.

        Raises:
            ArtefactError: The file is missing, or is no description of an encoder.
        """
        return read_model(folder / FILE, ArtefactError, cls)


def is_exported(path: Path) -> bool:
    """Tell whether a folder holds an exported encoder."""
    return (path / FILE).is_file()
