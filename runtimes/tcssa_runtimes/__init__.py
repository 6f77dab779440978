"""From a model to slots: torch, ONNX Runtime and TensorRT behind one contract."""

from __future__ import annotations

from tcssa_runtimes.base import Runtime
from tcssa_runtimes.encode import EncodeReport, FailedSlide, encode
from tcssa_runtimes.facts import ModelFacts
from tcssa_runtimes.inputs import Shard
from tcssa_runtimes.outputs import EncodedSlide, RuntimeOutput
from tcssa_runtimes.select import open_runtime

__all__ = [
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
