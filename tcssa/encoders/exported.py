"""What an exported encoder says of itself: ``encoder.json`` beside its graph or engine."""

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
    """An encoder that was exported, as its folder describes it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["encoder"] = "encoder"
    format: Literal["onnx", "tensorrt", "tensorrt-rtx"]
    file: FileName
    sha256: str
    data_files: dict[FileName, str]
    """Hash by name of the weights beyond the 2 GiB that a graph's own file holds."""
    name: str
    weights_hash: str
    """Those of the encoder that was exported: its features may be mixed with this one's."""
    feature_dim: int = Field(ge=1)
    input_px: int = Field(ge=1)
    mean: tuple[float, ...] = Field(min_length=3, max_length=3)
    std: tuple[Positive, ...] = Field(min_length=3, max_length=3)
    """Of the normalisation, which is a part of the graph."""
    trained_mpp: tuple[Positive, ...]
    max_batch: int | None = Field(ge=1)
    tolerance: float
    parity: list[EncoderParity]
    not_run: str | None
    """What the comparison leaves open."""
    tools: dict[str, str]
    build: dict[str, int | str]

    def write(self, folder: Path) -> None:
        """Write the description into the folder."""
        atomic.write_text(folder / FILE, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> ExportedEncoder:
        """Read the description of a folder.

        Raises:
            ArtefactError: It is not there, or is no such description.
        """
        return read_model(folder / FILE, ArtefactError, cls)


def is_exported(path: Path) -> bool:
    """Whether a folder holds an exported encoder."""
    return (path / FILE).is_file()
