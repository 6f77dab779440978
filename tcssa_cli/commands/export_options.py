"""The options of `tcssa export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from tcssa.config.settings import Section


class CommonOptions(Section):
    """Options of all exports."""

    format: Literal["onnx", "trt", "trt-rtx"] = Field(
        default="onnx",
        description="onnx: an ONNX graph; trt: an engine of the TensorRT that is installed; "
        "trt-rtx: an engine of TensorRT for RTX.",
    )
    overwrite: bool = Field(default=False, description="Replace an artefact at --out.")


class ModelOptions(Section):
    """Options of the graph of a trained model."""

    precision: Literal["fp32", "fp16", "bf16"] = Field(
        default="fp32",
        description="Number format of pooling, experts and head; the gate is always fp32.",
    )
    graph: Literal["full", "chunked"] = Field(
        default="full",
        description="full: one graph for whole slides; chunked: a pair of graphs, for slides of "
        "any size.",
    )
    projector: Path | None = Field(
        default=None,
        description="File of the projector, if the model is not a run of train-vqa.",
    )
    classes: list[str] | None = Field(
        default=None,
        description="Name of a class of a reference checkpoint; repeat it, in order.",
    )
    chunk_patches: int | None = Field(
        default=None,
        ge=1,
        description="Patches of a chunk, with --graph chunked. [default: 2048; engines 8192]",
    )
    min_patches: int | None = Field(
        default=None, ge=1, description="Fewest patches a full engine takes. [default: 1]"
    )
    opt_patches: int | None = Field(
        default=None, ge=1, description="Patches a full engine is tuned for. [default: 8192]"
    )
    max_patches: int | None = Field(
        default=None,
        ge=1,
        description="Most patches of a slide in a full graph. [default: any; engines 131072]",
    )
    triton: Path | None = Field(
        default=None,
        description="Also write the model to this Triton Inference Server repository.",
    )


class EngineOptions(Section):
    """Options of any engine."""

    max_batch: int | None = Field(
        default=None,
        ge=1,
        description="Most slides at once. [default: 8, or 1 in half precision; 16 chunks; 64 "
        "patches of an encoder]",
    )
    target: str | None = Field(
        default=None,
        description="GPUs to build for, such as sm89,sm120. [default: the GPU of this machine]",
    )
    workspace: int = Field(
        default=2048, ge=1, description="Most scratch memory of an engine, in MB."
    )

    @property
    def targets(self) -> list[str]:
        """The GPUs to build for, one by one."""
        return [name.strip() for name in self.target.split(",")] if self.target is not None else []


class EncoderOptions(Section):
    """Options of the export of a patch encoder."""

    encoder: str | None = Field(
        default=None, description="Name of the patch encoder; tcssa encoders lists them."
    )
    weights: Path | None = Field(
        default=None,
        description="File of the encoder's weights. [default: from the Hugging Face cache]",
    )
