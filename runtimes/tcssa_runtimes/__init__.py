"""Runtimes that compress slides to slots: torch, ONNX Runtime, TensorRT, behind one contract."""

from __future__ import annotations

from tcssa_runtimes.archive.archive_index import FailedSlide
from tcssa_runtimes.archive.encode import encode
from tcssa_runtimes.archive.encode_options import EncodeOptions
from tcssa_runtimes.archive.encode_report import EncodeReport
from tcssa_runtimes.archive.inputs import Shard
from tcssa_runtimes.backends.open_runtime import open_runtime
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.model_info import ModelFacts
from tcssa_runtimes.contract.outputs import EncodedSlide, RuntimeOutput

__all__ = [
    "EncodeOptions",
    "EncodeReport",
    "EncodedSlide",
    "FailedSlide",
    "ModelFacts",
    "Runtime",
    "RuntimeOutput",
    "Shard",
    "encode",
    "open_runtime",
]
