"""The artefact: the unit that is deployed.

A folder with the model file and ``artefact.json``, which says all that a runtime must know.
Exporters write it, runtimes read it, and neither knows the other. It holds no time stamp: the
same checkpoint and options give the same bytes, up to TensorRT, whose plans differ between builds.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcssa import atomic
from tcssa.artefact_tensors import require_one_model, require_small
from tcssa.checksums import file_sha256
from tcssa.errors import ArtefactError
from tcssa.files.names import FileName
from tcssa.files.text import read_model

MANIFEST_FILE = "artefact.json"

Format = Literal["onnx", "tensorrt", "tensorrt-rtx"]
What = Literal["compressor", "classifier", "projector"]
"""What the graph ends with: slots, a classifier's logits, a language model's tokens."""
Graph = Literal["full", "chunked"]
"""One graph for whole bags; or a pair, ``partial`` for chunks of bags and ``finish`` for their
merged means. See `tcssa_exporters.graph`."""


Size = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TensorSpec(_Record):
    """A tensor that goes in or comes out."""

    name: str
    dtype: Literal["float16", "float32", "int64"]
    shape: list[Size | None] = Field(min_length=1, max_length=4)
    """None stands for a dimension that varies."""


class PatchRange(_Record):
    """How many patches a bag may have."""

    min: int = Field(ge=0, le=2**31 - 1)
    opt: int
    max: int | None
    """None: no limit but memory."""

    @model_validator(mode="after")
    def _require_order(self) -> Self:
        if not self.min <= self.opt <= (self.opt if self.max is None else self.max):
            raise ValueError(f"{self.min}, {self.opt} and {self.max} must rise")
        return self


class ParityRow(_Record):
    """One comparison with torch, made at export."""

    case: str
    runner: str = ""
    """What ran the exported model."""
    batch: int
    num_patches: int
    max_abs_slots: float
    max_abs_mass: float
    max_abs_heads: dict[str, float] = {}
    """Of logits or tokens."""
    routed_alike: float
    """Share of patches with the same slots in the same order."""
    share_of_tolerance: float
    """How much of its tolerance the worst tensor used up."""


class Parity(_Record):
    """What was compared, and with what result."""

    status: str
    """``passed with onnxruntime …``, or ``not yet run on a GPU``."""
    tolerance: float
    """Largest deviation allowed of slots and heads, relative to the largest entry (at least 1)."""
    reason: str
    """Why so much."""
    not_run: list[str] = []
    """What no comparison covers."""
    rows: list[ParityRow]


class ModelFile(_Record):
    """One graph of an artefact and what is known of it."""

    file: FileName
    sha256: str
    data_files: dict[FileName, str] = {}
    """Files that this one refers to, with their SHA-256: weights above 2 GiB."""
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    build: dict[str, int | str] = {}
    """What an engine's builder reported: scratch memory, size of the plan, workspace limit."""
    max_batch: Size | None = None
    """Most bags, chunks or slides at once; None: any number."""


class Artefact(_Record):
    """Everything that ``artefact.json`` says."""

    schema_version: Literal[2] = 2
    format: Format
    what: What = "compressor"
    graph: Graph = "full"
    models: dict[str, ModelFile]
    """``full``; or ``partial`` and ``finish``."""
    feature_dim: Size
    num_slots: Size
    top_k: Size
    precision: dict[str, str]
    """Number format of each stage: input, gate, pooling, experts, and head where there is one."""
    patches: PatchRange
    """Of a bag; of a chunked pair any number, since its bags come in chunks."""
    chunk_patches: Size | None = None
    """Rows of a chunk of a chunked pair; None for a full graph."""
    max_batch: Size | None
    """Most bags, or chunks, at once."""
    salience: bool = False
    """Whether patches have a factor of their weights, which the graph gives."""
    nested: bool = False
    """Whether slots may be folded into fewer ones (`tcssa.budgets`) before ``finish``."""
    auto_share: float = Field(default=0.9, gt=0, le=1)
    """Share of the variance between a slide's slots that an automatic budget keeps."""
    spatial: bool = False
    """Whether the model is told where patches lie: a full graph takes ``coords``, (x, y) in µm
    about a point near the slide's middle; ``finish`` of a chunked pair takes ``moments``
    (`tcssa.moments`)."""
    head_takes_mass: bool = False
    """Whether the head pools by mass, so that ``finish`` of a chunked pair takes the masses."""
    encoder: str | None
    """Encoder of the features that the model was trained on."""
    classes: list[str] | None = None
    """Of a classifier's logits."""
    token_dim: Size | None = None
    """H of a projector's tokens."""
    checkpoint_sha256: str
    head_sha256: str | None = None
    """Of the projector's file, where it has one of its own."""
    parity: Parity
    tools: dict[str, str]
    gpu_targets: list[str] = []
    """Compute capabilities that an engine was built for, as ``sm89``."""

    @model_validator(mode="after")
    def _require_one_model(self) -> Self:
        require_one_model(self)
        return self

    @property
    def sha256(self) -> str:
        """Hash of all model files: tells which model made a result."""
        joined = " ".join(f"{name} {model.sha256}" for name, model in sorted(self.models.items()))
        return hashlib.sha256(joined.encode()).hexdigest()

    @classmethod
    def read(cls, folder: Path, *, check: bool = True) -> Self:
        """Read an artefact and check that its model file is the one it was made with.

        Raises:
            ArtefactError: The folder is no artefact, what it says of itself contradicts itself, or
                a file is missing or altered.
        """
        path = folder / MANIFEST_FILE
        if not path.exists():
            raise ArtefactError(
                folder, f"is no artefact (no {MANIFEST_FILE})", hint="make one: tcssa export"
            )
        artefact = read_model(path, ArtefactError, cls)
        require_small(artefact, path)
        files: dict[str, str] = {}
        for model in artefact.models.values():
            files |= {model.file: model.sha256, **model.data_files}
        for name, sha256 in files.items():
            if not (folder / name).is_file():
                raise ArtefactError(folder / name, "the artefact's model file is missing")
            if check and file_sha256(folder / name) != sha256:
                raise ArtefactError(
                    folder / name,
                    "is not the file the artefact was made with",
                    hint="export it again",
                )
        return artefact

    def write(self, folder: Path) -> None:
        """Write ``artefact.json``; last, since it is what makes the folder an artefact."""
        atomic.write_text(folder / MANIFEST_FILE, self.model_dump_json(indent=2) + "\n")


def is_artefact(path: Path) -> bool:
    """Whether a path is an artefact's folder."""
    return (path / MANIFEST_FILE).is_file()
