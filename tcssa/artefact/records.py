"""The records of ``artefact.json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcssa.features.extraction_record import ExtractionRecord
from tcssa.files.names import FileName
from tcssa.mil.calibration.record import Calibration

Format = Literal["onnx", "tensorrt", "tensorrt-rtx"]
What = Literal["compressor", "classifier", "projector"]
"""Last output of the graph: slots, a classifier's logits, a language model's tokens."""
Graph = Literal["full", "chunked"]
"""One graph for whole bags; or a pair, ``partial`` for chunks of bags and ``finish`` for their
merged means. See `tcssa_exporters.graph`."""


Size = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TensorSpec(_Record):
    """One input or output tensor of a graph."""

    name: str
    dtype: Literal["float16", "float32", "int64"]
    shape: list[Size | None] = Field(min_length=1, max_length=4)
    """Size of each dimension; None for one that varies."""


class PatchRange(_Record):
    """The number of patches that a bag may have."""

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
    """The runtime that ran the exported model."""
    batch: int
    num_patches: int
    max_abs_slots: float
    max_abs_mass: float
    max_abs_heads: dict[str, float] = {}
    """Largest deviation of logits or tokens."""
    routed_alike: float
    """Share of patches with the same slots in the same order."""
    share_of_tolerance: float
    """Share of its tolerance that the worst tensor used."""


class Parity(_Record):
    """The comparisons with torch, and their result."""

    status: str
    """``passed with onnxruntime …``, or ``not yet run on a GPU``."""
    tolerance: float
    """Largest deviation allowed in slots and heads, relative to the largest entry (at least 1)."""
    reason: str
    """Why the tolerance is that large."""
    not_run: list[str] = []
    """Cases that no comparison covers."""
    rows: list[ParityRow]


class ModelFile(_Record):
    """One graph of an artefact and the facts about it."""

    file: FileName
    sha256: str
    data_files: dict[FileName, str] = {}
    """Files that this one refers to, with their SHA-256: weights above 2 GiB."""
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    build: dict[str, int | str] = {}
    """Report of an engine's builder: scratch memory, size of the plan, workspace limit."""
    max_batch: Size | None = None
    """Most bags, chunks or slides at once; None: any number."""


class ArtefactRecord(_Record):
    """The content of ``artefact.json``; a `tcssa.artefact.Artefact` is one that was checked."""

    schema_version: Literal[2] = 2
    format: Format
    what: What = "compressor"
    graph: Graph = "full"
    models: dict[str, ModelFile]
    """``full``; or ``partial`` and ``finish``."""
    feature_dim: Size
    """Length of a patch feature."""
    slot_dim: Size
    """Length of a slot: that of a patch, unless the model embeds its patches first."""
    num_slots: Size
    top_k: Size
    members: Size = 1
    """Models of an ensemble, of each of which ``num_slots`` and ``top_k`` hold an equal part: their
    slots stand side by side, and ``logits`` are the mean of theirs."""
    precision: dict[str, str]
    """Number format of each stage: input, embedding where there is one, gate, pooling, experts, and
    head where there is one."""
    patches: PatchRange
    """Patches of a bag; any number for a chunked pair, whose bags come in chunks."""
    chunk_patches: Size | None = None
    """Rows of a chunk of a chunked pair; None for a full graph."""
    max_batch: Size | None
    """Most bags, or chunks, at once."""
    salience: bool = False
    """Whether patches have a salience, a factor of their weights, which the graph returns."""
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
    extraction: ExtractionRecord = ExtractionRecord()
    """How these features' patches were made, as far as the run states it; older artefacts and
    models that are no run's do not."""
    classes: list[str] | None = None
    """Class names of a classifier's logits."""
    calibration: dict[str, Calibration] = {}
    """Threshold and temperature of a classifier, as in its run's ``metrics.json``; none in older
    artefacts and of models that are no run's."""
    token_dim: Size | None = None
    """H of a projector's tokens."""
    checkpoint_sha256: str
    head_sha256: str | None = None
    """Hash of the projector's file, where it has one of its own."""
    parity: Parity
    tools: dict[str, str]
    gpu_targets: list[str] = []
    """Compute capabilities that an engine was built for, as ``sm89``."""

    @model_validator(mode="before")
    @classmethod
    def _state_slot_dim(cls, values: Any) -> Any:  # whatever is validated
        """Take the length of patches for that of slots, which older artefacts do not state."""
        if isinstance(values, dict) and "feature_dim" in values:
            return {"slot_dim": values["feature_dim"], **values}
        return values
